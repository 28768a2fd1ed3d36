//! Who the device is and whom it trusts: SVID, key, trust bundle, peer verification.
