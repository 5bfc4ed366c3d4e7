//! One stream of a client: TLS from the first byte, a login by PLAIN, and elements one by one. It reads with a parser that is not the
//! server's own.

use crate::common::binary::{LONG, Tls, plain};
use async_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};
use minidom::Element;
use minidom::tree_builder::TreeBuilder;
use rxml::error::EndOrError;
use rxml::{Parse, RawParser};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

pub(crate) const DOMAIN: &str = "example.org";
pub(crate) const PASSWORD: &str = "a long secret";
const STREAMS: &str = "http://etherx.jabber.org/streams";

pub(crate) struct Stream {
    tls: Tls,
    parser: RawParser,
    tree: TreeBuilder,
    buffer: Vec<u8>,
    /// Who it is, if everything is to be shown.
    shown: Option<String>,
}

impl Stream {
    /// Connects and logs in; gives the features of the stream that can be bound or resumed.
    pub(crate) fn log_in(
        address: SocketAddr,
        trust: &Arc<ClientConfig>,
        name: &str,
        shown: Option<String>,
    ) -> Result<(Stream, Element)> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(LONG))?;
        socket.set_nodelay(true)?;
        let connection = ClientConnection::new(trust.clone(), DOMAIN.try_into().unwrap()).map_err(Error::other)?;
        let tls = StreamOwned::new(connection, socket);
        let (parser, tree) = (RawParser::new(), TreeBuilder::new());
        let mut stream = Stream { tls, parser, tree, buffer: Vec::new(), shown };
        stream.open()?;
        stream.say(&plain(name, PASSWORD))?;
        let answer = stream.next()?;
        assert_eq!(answer.name(), "success", "{name} cannot log in: {}", String::from(&answer));
        let features = stream.open()?;
        Ok((stream, features))
    }

    /// Begins a stream; gives its features.
    fn open(&mut self) -> Result<Element> {
        (self.parser, self.tree) = (RawParser::new(), TreeBuilder::new());
        self.buffer.clear();
        self.say(crate::common::binary::HEADER)?;
        self.next()
    }

    pub(crate) fn say(&mut self, text: &str) -> Result<()> {
        if let Some(who) = &self.shown {
            eprintln!("{who} > {text}");
        }
        self.tls.write_all(text.as_bytes())?;
        self.tls.flush()
    }

    /// The next element. The end of the stream is an error, orderly or not.
    pub(crate) fn next(&mut self) -> Result<Element> {
        loop {
            if let Some(element) = self.parsed()? {
                if let Some(who) = &self.shown {
                    eprintln!("{who} < {}", String::from(&element));
                }
                if element.is("error", STREAMS) {
                    return Err(Error::other(String::from(&element)));
                }
                return Ok(element);
            }
            let mut more = [0; 4096];
            let n = self.tls.read(&mut more)?;
            if n == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&more[..n]);
        }
    }

    /// The next element of what has come, if it is whole.
    fn parsed(&mut self) -> Result<Option<Element>> {
        let mut rest = &self.buffer[..];
        let element = loop {
            if self.tree.depth() == 1
                && let Some(element) = self.tree.unshift_child()
            {
                break Some(element);
            }
            match self.parser.parse(&mut rest, false) {
                Ok(Some(event)) => self.tree.process_event(event).map_err(Error::other)?,
                Ok(None) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(EndOrError::NeedMoreData) => break None,
                Err(EndOrError::Error(e)) => return Err(Error::other(e)),
            }
        };
        let used = self.buffer.len() - rest.len();
        self.buffer.drain(..used);
        Ok(element)
    }

    /// Ends the stream in order: what still comes, until the server ends it too, is given to `take`. Says whether it did.
    pub(crate) fn close(mut self, mut take: impl FnMut(Element)) -> bool {
        let _ = self.say("</stream:stream>");
        while let Ok(element) = self.next() {
            take(element);
        }
        self.tree.depth() == 0
    }

    /// As if the network had gone.
    pub(crate) fn cut(self) {
        let _ = self.tls.sock.shutdown(Shutdown::Both);
    }
}
