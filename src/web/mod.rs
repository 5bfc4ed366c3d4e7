//! The bytes of the web: requests and answers of HTTP/1.1, messages of WebSockets, sessions of BOSH. No socket, no clock, no file.
//!
//! A connection reads a [`Request`](request::Request), then what follows it by a [`Body`](body::Body), and answers with an
//! [`Answer`](answer::Answer), one after the other; or it becomes a WebSocket, whose messages are in [`frames`]. Requests of a [`bosh`]
//! session come on any connections. People see [`pages`], and send [`form`]s. A [`notification`] is what a program has to say, in plain text or [JSON](json).

pub mod answer;
pub mod body;
pub mod bosh;
pub mod form;
pub mod frames;
pub mod json;
pub mod notification;
pub mod pages;
pub mod percent;
pub mod range;
pub mod request;
