//! Stream headers and the errors before one is sent (RFC 6120 §4.7, §4.9.1.2).
