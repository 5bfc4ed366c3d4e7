//! The bytes of the web: requests and answers of HTTP/1.1, messages of WebSockets. No socket, no clock, no file.
