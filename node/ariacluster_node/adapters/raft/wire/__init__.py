"""What goes over the wire: encrypted links with every member, and the sockets under them."""
