//! Limits how often one client may ask.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

/// Bits of an IPv6 address that identify a client: a network of 64 bits is the smallest that providers assign.
const CLIENT_BITS: u32 = 64;

/// Limits each client's requests: to a number per minute, of which all may come at once.
#[derive(Debug)]
pub struct RateLimit(Option<DefaultKeyedRateLimiter<IpAddr>>);

impl RateLimit {
    /// Creates a limit of `per_minute` requests per client; 0 for no limit.
    pub fn new(per_minute: u32) -> Self {
        let quota = NonZeroU32::new(per_minute).map(Quota::per_minute);
        Self(quota.map(DefaultKeyedRateLimiter::keyed))
    }

    /// Counts a request of a client and admits it.
    ///
    /// # Errors
    ///
    /// Returns the time until the next request is admitted.
    pub fn check(&self, client: IpAddr) -> Result<(), Duration> {
        let Some(limiter) = &self.0 else { return Ok(()) };
        let refused = limiter.check_key(&client_network(client)).err();
        refused.map_or(Ok(()), |until| Err(until.wait_time_from(DefaultClock::default().now())))
    }

    /// Drops clients without recent requests, so that memory grows with the clients of the last minute only.
    pub fn drop_idle_clients(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// Returns the address under which a client is counted: IPv4 as it is, IPv6 cut to its network.
fn client_network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (Ipv6Addr::BITS - CLIENT_BITS);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_client_has_its_own_count_and_learns_how_long_to_wait() {
        let limit = RateLimit::new(2);
        assert_eq!(limit.check(ip("192.0.2.1")), Ok(()));
        assert_eq!(limit.check(ip("::ffff:192.0.2.1")), Ok(()));
        let wait = limit.check(ip("192.0.2.1")).unwrap_err();
        assert!((25..=30).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(limit.check(ip("192.0.2.2")), Ok(()));
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let limit = RateLimit::new(1);
        assert_eq!(limit.check(ip("2001:db8:1:2::1")), Ok(()));
        assert!(limit.check(ip("2001:db8:1:2:ffff::9")).is_err());
        assert_eq!(limit.check(ip("2001:db8:1:3::1")), Ok(()));
    }

    #[test]
    fn a_limit_of_zero_refuses_nobody() {
        let limit = RateLimit::new(0);
        assert!((0..10_000).all(|_| limit.check(ip("192.0.2.1")).is_ok()));
    }
}
