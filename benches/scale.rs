//! Measures seatrial at scale and checks the bounds of docs/performance.md: `make bench`.

fn main() {}
