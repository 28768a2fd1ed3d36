//! The durable state: two checksummed files, newest valid wins.
