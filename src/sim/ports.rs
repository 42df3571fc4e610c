//! Chooses ports on 127.0.0.1.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Context, Result};

/// Ports that nobody listens on: all are held before the first is let go, so that they differ.
pub(super) fn free(count: usize) -> Result<Vec<u16>> {
    let choose = || -> std::io::Result<Vec<u16>> {
        let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
        held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
    };
    choose().context("find free ports on 127.0.0.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let ports: std::collections::BTreeSet<u16> = free(20).expect("are free").into_iter().collect();
        assert_eq!(ports.len(), 20);
    }
}
