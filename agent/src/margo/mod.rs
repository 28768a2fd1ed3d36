//! The Margo management interface, client side: wire types, polling, fetching, reporting.
