"""Who is on this LAN: multicast DNS, by zeroconf, the only folder that knows it."""
