module seatrial.dev/testenv/github

go 1.26
