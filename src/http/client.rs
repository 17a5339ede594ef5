//! Who a request is from, as far as its proxies can be trusted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Once;

use axum::http::HeaderMap;

/// The header in which each proxy writes, at its end, the address that it was asked from.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Headers of which any says that there is a proxy.
const FORWARDED: &[&str] = &[FORWARDED_FOR, "forwarded", "x-real-ip"];

/// The address at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// The client's address: the peer's, or behind `trusted` proxies the one that the first of them was asked from. What stands
/// before that in the header, anybody can have written.
pub(super) fn address(Peer(peer): Peer, headers: &HeaderMap, trusted: usize) -> IpAddr {
    if trusted == 0 {
        warn_once(headers);
        return peer;
    }
    // What a client wrote before the proxy's entry may be anything.
    let lines: Vec<_> =
        headers.get_all(FORWARDED_FOR).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    let entries: Vec<&str> = lines.iter().flat_map(|line| line.split(',')).map(str::trim).collect();
    let entry = entries.get(entries.len().saturating_sub(trusted));
    entry.and_then(|entry| parse(entry)).unwrap_or(peer)
}

/// An address, perhaps with a port.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Behind a proxy nobody told of, every reader is one client; the operator should know.
fn warn_once(headers: &HeaderMap) {
    static WARNED: Once = Once::new();
    if FORWARDED.iter().any(|name| headers.contains_key(*name)) {
        WARNED.call_once(|| {
            tracing::warn!(
                "a request came through a proxy, and TRUSTED_PROXIES is 0: RATE_LIMIT takes all readers behind the proxy \
                for one"
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(lines: &[&'static str], trusted: usize) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        address(Peer("10.0.0.1".parse().unwrap()), &headers, trusted).to_string()
    }

    #[test]
    fn only_what_a_trusted_proxy_wrote_is_believed() {
        assert_eq!(of(&["203.0.113.9"], 0), "10.0.0.1", "nobody is trusted");
        assert_eq!(
            of(&["1.2.3.4, 203.0.113.9"], 1),
            "203.0.113.9",
            "what the client itself wrote stands before it"
        );
        assert_eq!(of(&["1.2.3.4", "203.0.113.9"], 1), "203.0.113.9", "lines are one list");
        assert_eq!(of(&["1.2.3.4, 203.0.113.9, 10.0.0.2"], 2), "203.0.113.9");
        assert_eq!(of(&["\u{ff}\u{a0}, 203.0.113.9"], 1), "203.0.113.9");
        assert_eq!(of(&["203.0.113.9"], 2), "203.0.113.9", "asked past the outer proxy");
    }

    #[test]
    fn an_entry_may_have_a_port_and_what_is_no_address_is_the_peer() {
        assert_eq!(of(&["203.0.113.9:4711"], 1), "203.0.113.9");
        assert_eq!(of(&["[2001:db8::1]:4711"], 1), "2001:db8::1");
        assert_eq!(of(&["[2001:db8::1]"], 1), "2001:db8::1");
        assert_eq!(of(&["2001:db8::1"], 1), "2001:db8::1");
        for line in ["unknown", "", "203.0.113.9.example", ","] {
            assert_eq!(of(&[line], 1), "10.0.0.1", "{line:?}");
        }
        assert_eq!(of(&[], 1), "10.0.0.1");
    }
}
