//! Inglenook: the XMPP server for small appliances. This page is the architecture.
//!
//! # Four sentences
//!
//! 1. **The head of a stanza is data, its body is bytes.** A [`Stanza`](wire::Stanza)'s start tag is written from fields; what
//!    is inside is routed, stored and copied as the bytes that came in, shared and never serialized again.
//! 2. **The server is a value.** [`Core::handle`](core::Core::handle) takes the time and an [`Input`](core::Input), and says in
//!    [`Effect`](core::Effect)s what it wants done. The same value runs in the program, in a test, and in a seeded simulation.
//! 3. **One file is one extension, and the list of extensions is the pipeline**: [`ext::all`], to be read top to bottom.
//! 4. **An answer to a change is a promise**, and so is the `<a/>` of stream management. It is sent when all that it answers for is on
//!    stable storage. Messages and presence to people who are online never wait for the disk.
//!
//! # The house
//!
//! Imports go one way: `stream` and `web` know `wire`; `core` knows `store` and `wire`; `ext` knows `core` and what that knows; `service`
//! sees all (`tests/layers.rs`). Below `service` there is no socket, clock, thread, random source or file; only the engine on the
//! disk, in `store`, has files.
//!
//! - [`wire`]: BYTES. The [`framer`](wire::framer) finds where an element ends, [`xml`](wire::xml) checks and indexes it,
//!   [`stanza`](wire::stanza) and [`jid`](wire::jid) are what the rest of the house speaks.
//! - [`stream`]: ONE CONNECTION, as a state machine: [`plain`](stream::plain) up to STARTTLS, then [`c2s`](stream::c2s) with
//!   SASL, resource binding and stanzas, whole or in messages ([`framing`](stream::framing)); [`component`](stream::component) for gateways and bots on the same box;
//!   [`s2s`](stream::s2s), both ends of a stream between two servers.
//! - [`web`]: HTTP. A [`request`](web::request) and what follows it ([`body`](web::body)), [`answers`](web::answer), parts of files
//!   ([`range`](web::range)), what programs have to say ([`notification`](web::notification)), what people see ([`pages`](web::pages)), the messages of WebSockets ([`frames`](web::frames)), and what a session of
//!   BOSH holds ([`bosh`](web::bosh)): bytes only.
//! - [`store`]: DISK. [`Engine`](store::Engine) is the contract, a [`Batch`](store::Batch) is made whole or not at all;
//!   [`card`](store::card) keeps it on a card, rows in [sled](store::sled_engine) and messages in [the log](store::log), and
//!   [`memory`](store::memory) in a test that cuts the power.
//! - [`core`](mod@core): STATE. Who is here, what may they do, where does it go: accounts, sessions, rosters, presence, the
//!   table of RFC 6121 §8.5 as a table, and who speaks for the domains that are not ours ([`peers`](core::peers)).
//! - [`ext`]: EXTENSIONS. What each says of itself makes service discovery, the table of specifications and `doap.xml`.
//! - [`service`]: THE WORLD. [`net`](service::net) carries connections inside [`tls`](service::tls), with buffers of the thread
//!   instead of their own; [`dns`](service::dns) says where other servers are, `federation.rs` what their certificates
//!   prove; by [`mdns`](service::mdns) the network at hand finds this one; [`hub`](service::hub) holds the core under its lock, [`storage`](service::disk::storage) is the thread that owns
//!   the database; [`manager`](service::manager) tells systemd how they are. [`owner`](service::owner) is what whoever runs the box can type: from [`setup`](service::owner::setup)
//!   to [`observe`](service::owner::observe), which looks at a server as strangers do.
//!
//! # How a stanza flows
//!
//! Juliet sends Romeo a message.
//!
//! 1. A [`pump`](service::net::pump) reads bytes through TLS and hands them to its [`link`](service::net::link), whose stream,
//!    [`C2s`](stream::c2s::C2s), frames, checks and parses them, outside of any lock. What the stream says
//!    ([`Event::Stanza`](stream::Event::Stanza)), the link makes an input of the core.
//! 2. The [`hub`](service::hub) takes the lock and gives the core [`Input::Stanza`](core::Input::Stanza). `core/message/route.rs` puts Juliet's full
//!    JID into `from`, whatever stood there.
//! 3. The `leave` hooks see it, in the order of the list ([`Extension`](core::Extension)). Each may change it, end its way
//!    ([`Flow::Done`](core::Flow::Done)) or refuse it: `?` in a hook is the error that Juliet gets.
//! 4. `Core::route` looks at `to`. At an address of ours the `arrive` hooks see it, then `rule`, the table, says what becomes of
//!    it: to one session, to all that take messages, to an extension that answers (`iq`), to the `offline` hooks. Presence has its
//!    own rules in [`core::presence`]. What is accepted, the `accepted` hooks see (the archive), and
//!    what is delivered, the `delivered` hooks.
//! 5. Hooks never call each other: what they send ([`State::send`](core::State::send)) waits in a queue until the stanza before
//!    it is done, and all of it is done before the next input. That is what keeps stanzas in order.
//! 6. Out come [`Effect::Send`](core::Effect::Send)s. The hub puts each into the outbox of its session; the stanza is shared, not
//!    copied. The lock is free again.
//! 7. The pump of each receiver takes what waits in its outbox, up to 64 KiB at once, and writes it. It works in turns ([`service::share`]): what it
//!    has not done by the end of one, it does when the other accounts have had theirs.
//!
//! # What an answer promises
//!
//! A hook asks for [`State::write`](core::State::write) before it changes memory: while storage is full or failing it is refused,
//! and the client is told. What makes room asks with [`State::erase`](core::State::erase): a full disk takes it, out of what is kept free.
//! The changes of one turn are one [`Batch`](store::Batch), so both sides of a subscription change
//! together. [`State::confirm`](core::State::confirm) holds the answer back until [`Input::Committed`](core::Input::Committed)
//! says that the batch survives a power cut; `service::disk::storage` commits all that came within a short window, and syncs once.
//!
//! # Services
//!
//! A subdomain belongs to an extension: what is sent there comes to [`Extension::serve`](core::Extension::serve), whole. `ext/muc` has
//! rooms at `conference.`, one file for each use case; `ext/pubsub` has nodes at `pubsub.` and, with the same engine, at every account.
//! A gateway or a bot has a domain of its own, and its stream is the way there (`core/component.rs`). What a room says goes through
//! the queue of the turn like all else, so that everybody hears it in one order; it is one entry of the log, in the room's archive.
//!
//! An extension that needs something of another asks for it in somebody's name ([`State::inquire`](core::State::inquire)), and gets
//! what that somebody would: so the picture of a node comes into a vCard, if the node is open to who asks for the vCard.
//!
//! # A login
//!
//! What a client of RFC 6120 asks for one after the other (a proof, a resource or its old session, stream management), one of SASL2
//! asks for at once. Either way it is the stream that checks a password, and the core that does the rest with the same functions: for
//! the latter in one turn ([`Event::Begin`](stream::Event::Begin), `core/login.rs`), so that nothing comes between. What
//! extensions add to that is [`Extension::bind_inline`](core::Extension::bind_inline). Tokens, which may stand in place of the
//! password, are known to the core alone ([`core::token`]).
//!
//! 1. `service/net/listen.rs` accepts a connection at a port, a row of [`listeners`](service::net::listeners); `c2s.rs` beside it takes it through
//!    STARTTLS ([`plain`](stream::plain)) and the handshake ([`tls`](service::tls)). Where TLS comes first, `direct.rs` finds out what the peer wants
//!    to speak: each such port is for apps, other servers and browsers. From here on it is a pump; or `web/`, which answers requests until one
//!    of them makes the connection a WebSocket, and that is a pump, too. A stream of BOSH is a pump without a connection of its own (`bosh.rs`): requests bring what
//!    it reads, and take what it writes.
//! 2. The stream says who wants to log in: [`Event::Credentials`](stream::Event::Credentials). The link waits for the core, where `core/throttle.rs` says when
//!    they may try, and `core/login.rs` gives what a password must prove.
//! 3. `stream/sasl.rs` checks the proof: [`Event::Authenticated`](stream::Event::Authenticated). The connection belongs to its account from here on
//!    ([`service::share`]), and the stream begins anew.
//! 4. [`Event::Bind`](stream::Event::Bind): `Core::bind` makes a [`Session`](core::session::Session), and the stream speaks for it. Extensions are told
//!    ([`Event::Bound`](core::Event::Bound)).
//!
//! # To another server
//!
//! Juliet sends a message to `benvolio@montague.example`.
//!
//! 1. Steps 1 to 3 of a stanza are the same. `Core::route` finds that the domain is nobody's here and no component's: the stanza goes to the
//!    peer's line ([`core::peers`]), one for each pair of domains. Her archive has it by then.
//! 2. If the line has a stream, it is written there. Else it waits in the line's outbox, and the hub is asked to dial
//!    ([`Effect::Dial`](core::Effect::Dial)).
//! 3. `service/net/s2s.rs` dials: `dial.rs` asks [`dns`](service::dns) for the places and reaches one of them; TLS; what the certificate and the owner's
//!    pins prove, judged by `service/federation.rs`, goes to the stream as its evidence.
//! 4. The stream ([`s2s`](stream::s2s)) proves who we are by EXTERNAL or dialback, and says when the line is open. What waited goes out, in order.
//!    If no stream can be made, Juliet gets an error that says which step failed; to a pinned server it waits.
//! 5. Stream management between servers is the one of clients (`core/message/managed.rs`): what is not acknowledged is in the core's queue, and goes
//!    on with the next stream, whoever dials it (`core/peers/resume.rs`).
//!
//! A server that dials us comes to a port of [`listeners`](service::net::listeners) and the same functions from step 3 on; what it says is an
//! input of the core as a client's stanza is, with `from` checked against the pair of domains that it has proved.
//!
//! # Entering a room
//!
//! 1. Juliet's presence to `garden@conference.` comes to `Core::route` as every stanza does (steps 1 to 3 above). The domain is a service's: it goes whole to
//!    [`Extension::serve`](core::Extension::serve) of `ext/muc`, which hands presence to `join.rs`.
//! 2. `join.rs` asks whether she may: the room's rules (`affiliation.rs`), her share of what all rooms have, how fast she comes. A room that is not there is made, as
//!    [`State::write`](core::State::write) takes it.
//! 3. She gets a seat (`occupant.rs`). The others are told, then she is told of all others and of herself (`presence.rs`): each of these a stanza behind
//!    this one in the queue of the turn.
//! 4. What was said is asked of storage (`history.rs`); what is said meanwhile waits at her seat. With [`Input::Answer`](core::Input::Answer) she gets the one and then
//!    the other, and the subject between them.
//!
//! # A file
//!
//! Juliet sends Romeo a picture: a file by HTTP, and its link in a message (XEP-0363).
//!
//! 1. Her client asks `upload.` for a slot. `ext/upload.rs` looks at name, size and purpose, and asks for a place
//!    ([`Effect::Slot`](core::Effect::Slot)).
//! 2. The hub asks the [`files`](service::disk::files), whose `room.rs` knows what everybody has, and promises room for five minutes: the URL has an
//!    id that nobody can guess, and whoever puts the file there must show a token. [`Input::Slot`](core::Input::Slot) is her answer.
//! 3. `service/net/web/files.rs` takes the request. The file comes in ([`Files::begin`](service::disk::files::Files::begin)), chunk by chunk, into `ID.part`. At its end its header is written, it is
//!    synced, gets its name, and the folder is synced: then it is there, and was promised.
//! 4. Romeo's client gets it ([`Files::find`](service::disk::files::Files::find)). It goes when its time is over, when there is too much and it is
//!    the oldest, or with Juliet's account ([`Effect::RemoveFiles`](core::Effect::RemoveFiles)).
//!
//! # A notification
//!
//! A program says that the disk is full: `curl -d "disk full"` at a URL that the owner has made.
//!
//! 1. `inglenook notify add` makes the token in the URL, and gives the core its SHA-256 ([`Command::NotifierAdd`](core::Command::NotifierAdd)).
//! 2. `service/net/web/notify.rs` takes the request, if the core knows the token; [`web::notification`] makes one text of what it says.
//! 3. With [`Input::Notify`](core::Input::Notify) it is a message: from the room itself, which alone lets that through (`ext/muc/message.rs`), or to a
//!    person. It goes its way from `Core::route` on, as all do.
//! 4. What refuses it in this turn is the answer; else that waits for storage as every promise does, and is [`Effect::Notified`](core::Effect::Notified).
//!
//! # An invitation
//!
//! Romeo has an app make a link for Juliet, who has no account yet (XEP-0401).
//!
//! 1. `ext/commands/invite.rs` makes the token, and [`State::invite`](core::State::invite) keeps its SHA-256 (`core/invitation.rs`), as it does for
//!    `inglenook invite` ([`Command::Invite`](core::Command::Invite)).
//! 2. Her app shows the token before it logs in (XEP-0445), or she opens the page ([`Hub::invitation`](service::hub::Hub::invitation)). From here on the stream may make an account,
//!    whatever the clock says.
//! 3. `ext/register.rs`, or [`Input::Take`](core::Input::Take) for the page, has her account made by [`State::take`](core::State::take): that, the contacts of both, and that the token is
//!    spent, are one batch. Who is invited into a room is told to [`Event::Invited`](core::Event::Invited): `ext/muc` makes them a member, `ext/bookmarks.rs` a bookmark.
//! 4. Once she is stored she is introduced to everybody in the house (`core/household.rs`), and by [`Event::Arrived`](core::Event::Arrived) gets its room (`ext/muc/house.rs`).
//! 5. If she has an account already, her app asks Romeo for a subscription with the token (XEP-0379), and `core/presence.rs` says yes, and asks in return.
//!
//! # A page
//!
//! Somebody opens the link that they were given, `/invite/TOKEN`, chooses a name and a password, and has an account.
//!
//! 1. `service/net/web/pages.rs` asks the core what may be shown to who knows that token, and tells [`web::pages`] for whom the page is: a language, and what they
//!    have in hand. It is made of data and of the texts of that language ([`Texts`](web::pages::Texts)), whole, in one string.
//! 2. The form comes back ([`web::form`]): another page's is refused. A form that is sent twice waits for the first, and hears the same.
//! 3. The hub makes the keys, and the core the account. The page that says so waits for storage, as every promise does.
//!
//! Who vouches for the house ([`Vouched`](web::pages::Vouched)) is told to the pages whenever the certificate changes.
//!
//! # What becomes of a message
//!
//! Step by step, with the function that does each: [`core::message`].
//!
//! A message that enters the server gets a number ([`Stanza::mark`](wire::Stanza::mark)), greater than all before, whatever the clock
//! does; [`State::stamp`](core::State::stamp) tells when it came, and `core/clock.rs` what the clock is worth. If one of the two
//! sides archives it, it is one [entry](core::message::Logged) in the [log](store::Entry), which also says what the streams of its
//! sender and of its receiver call it. Stream management (`core/message/acks.rs`) keeps it in the queue of each session that it was written to,
//! until that client acknowledges it; the session waits for its client when the connection is lost. `core/message/delivery.rs` knows who has a
//! message: as soon as somebody does, it needs no more delivery, and a note in the log says so. What nobody can be sure to have soon is
//! kept by `ext/offline.rs`, and handed out page by page, to each session at its own pace: what comes for that one meanwhile waits behind
//! the last page (`core/message/progress.rs`), so that stanzas of one sender stay in order, and nobody else waits. After a power cut the end of
//! the log is read again: what was on its way is kept, and a client that asks for its old stream is told how much of what it sent is stored, and tells what it has seen. So both
//! sides send again exactly what the other does not have.
//!
//! Between servers it is the same, in both directions of one stream (`core/peers/manage.rs`): a message to somebody elsewhere is an entry of the log, in its sender's
//! archive or in nobody's, and on its way until the other server has acknowledged it or its sender has an error. When a stream breaks,
//! the next one between the two domains carries on what it carried (`core/peers/resume.rs`), whoever dials it; nothing newer is said before.
//! After a power cut the log tells what was on its way and how the stream had counted it (`core/peers/recover.rs`). Messages to a server that
//! the owner has pinned wait for days.
//!
//! # What a client is spared
//!
//! A client that nobody looks at (XEP-0352), or that has lost its connection, need not know everything at once. `core/message/quiet.rs` holds
//! what can wait, in order and before the stream counts it, the newest presence of each; the extension `csi` says what cannot. The
//! extension `push` tells the service of a client's maker that there is something, while the client itself cannot be told.
//!
//! # Words of ours
//!
//! Names are those of the RFCs and XEPs. These are ours:
//!
//! - A **turn** of the core is one input with all that follows from it; of a connection, the time it may work before others have had theirs.
//! - A **mark** is the number of a message ([`Stanza::mark`](wire::Stanza::mark)); a **stamp** is the time that is told of it.
//! - A **peer** is whoever speaks for a domain that is not ours, a component or another server; a **line** is between one such domain and one of
//!   ours: its streams, and what waits for one. **Pinned** is a server whose key the owner has typed.
//! - A **link** joins a stream to the core, a **pump** a link to its connection; **mail** is what the core has for a connection.
//! - **Terms** are what all streams of a server have in common: [`stream::Terms`].
//! - **Managed** is a session with stream management, **hibernated** one whose connection is lost and whose client may come back.
//! - **Quiet** is what a client that nobody looks at need not know yet; **worth** says of a stanza whether it can wait.
//! - A message is **held** while nobody has it for sure, **kept** when it waits for an account, **had** when a client has acknowledged it.
//! - **Progress** is how far a session is with what was kept for its account.
//! - **Preauthenticated** is a stream whose client has shown the token of an invitation; **first** the invitation to the first account.
//! - The **house** is everybody who has an account and is no **stranger**, who has registered openly; a **root** is at whom a chain of invitations from apps begins.
//! - A **notifier** is whoever may say something by HTTP because they know a token.
//! - A **seat** is a session in a room, its **faces** are its presence as the others see it.
//! - The **head** of a node is all but its items; a **home** is where nodes are, an account or the service.
//! - A **share** is what one owner may have of what all share; an **owner** of a connection is an account, a component or, before a login, an address.
//! - A **card** is a disk that wears; **wear** is what was written to it.
//!
//! # A new extension
//!
//! One file in `src/ext` with a value that is an [`Extension`](core::Extension): its [`About`](core::About), and the hooks it
//! needs. One line in [`ext::all`]: its place there is its place in the pipeline. Its state is in its value, its rows in a
//! [`Tree`](store::Tree), one line of the table in `store/tree.rs`. Randomness is [`State::token`](core::State::token), time is [`State::now`](core::State). Plays in
//! `tests/exchange` show what it does, one behaviour each.
//!
//! # Limits
//!
//! Whatever a peer can make grow has a limit, a constant with its unit in the name, where it is looked at: those of a connection
//! in [`stream`], of a login in `core/throttle.rs`, of sessions and their presence in [`core::session`], of rosters in
//! [`core::roster`], of a value and a batch in [`store`], of outboxes in [`service::hub`], of what waits for the disk in [`service::share`], and each
//! extension's at the top of its file. What passes one is refused with an error that says so.
//!
//! # Shares
//!
//! What has a limit for all together has a share for each account and each address, and is asked for at every growth. The rule
//! ([`core::share`]): nobody may have more than what is then left for all others. What is an account's own (its roster, block list,
//! private storage, vCard, nodes, tokens, registrations for notifications, preferences) has a limit of its own, at the top of its
//! file. This table is made of the constants (`tests/documents.rs`).
//!
//! <!-- shares -->
//! | What | For all together | Share | Asked in | The greedy one |
//! | --- | --- | --- | --- | --- |
//! | rooms: lists with reasons and nicknames, configuration, subject, hats, what was taken back | `ROOMS_BYTES` = 16 MiB, `ROOMS_OF_ONE` = 200 | an account: that number of rooms that it made, and the rule for their bytes, whoever makes them grow | `ext/muc/room.rs` | `resource-constraint`: shorten a list or destroy a room |
//! | what was said in rooms without an archive | `SAID_BYTES` = 8 MiB | an account: the rule for the rooms that it made | `ext/muc/history.rs` | the oldest in the same room is forgotten |
//! | vCards of rooms | `VCARDS_BYTES` = 32 MiB | an account: the rule for the rooms that it made | `ext/muc/vcard.rs` | `resource-constraint`: remove a picture |
//! | sessions in rooms, with their presence | `SEATS_BYTES` = 32 MiB, `OCCUPANTS_MOST` = 1000 | an account or a component: the rule; of the nicknames in one room, too, from the second on | `ext/muc/join.rs` | `resource-constraint`: leave a room first |
//! | what is said in rooms and waits for those who are being sent the history | `HELD_BYTES` = 8 MiB | a room: the loudest one loses first | `ext/muc/mod.rs` | its sessions get no history |
//! | lists of one room | `AFFILIATIONS` = 2000, `AFFILIATIONS_BYTES` = 192 KiB | its admins: all; whoever else brings people in: the rule of half | `ext/muc/room.rs` | `resource-constraint`: ask an admin |
//! | messages of one room that were taken back | `RETRACTIONS` = 500 | its admins: all; a moderator besides: the rule | `ext/muc/moderate.rs` | `resource-constraint`: ask an admin |
//! | people counted in a minute: who makes rooms send something to others, and who sends presence to one room | `PEOPLE_BYTES` = 512 KiB | an account is one; a domain of others, the rule | `ext/muc/minute.rs` | `resource-constraint`: wait a minute |
//! | requests between occupants that wait for an answer | `FORWARDS` = 1024, `FORWARDS_OF_ONE` = 64 | a session: that number; else an account or a component: who has most loses first | `ext/muc/forward.rs` | its oldest is forgotten: the answer does not arrive |
//! | nodes of the service | `SERVICE_NODES` = 1000, `CREATED_NODES` = 50 | an account: that number of nodes that it made, and the rule | `ext/pubsub/node.rs` | `resource-constraint` with `max-nodes-exceeded`: delete one |
//! | configurations, affiliations and subscriptions of the nodes of the service | `SERVICE_HEAD_BYTES` = 2 MiB | an account: the rule for the nodes that it made; half of that, by the rule, for who subscribes there | `ext/pubsub/node.rs` | `resource-constraint`: delete a node; subscribers: `policy-violation` with `too-many-subscriptions` |
//! | items of the nodes of the service | `SERVICE_BYTES` = 32 MiB | a publisher: the rule | `ext/pubsub/node.rs` | `resource-constraint`: retract an item |
//! | the nodes of an account that others publish at and subscribe to | `ACCOUNT_BYTES` = 4 MiB, `ACCOUNT_HEAD_BYTES` = 256 KiB, `HEAD_BYTES` = 64 KiB, `SUBSCRIBER_BYTES` = 2 KiB | the account itself: all; another publisher: the rule; a subscriber: the rule of half, and that number in one node | `ext/pubsub/node.rs` | `resource-constraint`: retract an item; subscribers: `policy-violation` with `too-many-subscriptions` |
//! | hashes of what clients want to be told of | `KNOWN` = 256, `QUESTIONS` = 8, `QUESTIONS_OF_ALL` = 2048 | an account, or a site elsewhere, whose client told what one stands for: who has most loses first; a session is asked the second number of questions at a time, and all the third: the rule | `ext/pubsub/caps.rs` | its least used one is forgotten, and asked for again |
//! | clients elsewhere that want to be told of what is published here | `ELSEWHERE` = 4096 | a site elsewhere: who has most loses first | `ext/pubsub/caps.rs` | is told of nothing until its next presence |
//! | queries of archives that wait for the one before; those of accounts, and those of rooms | `QUERIES` = 4096, `TASKS` = 16 | an account or a component: the rule; of one session, that number | `ext/archive/query.rs` | `resource-constraint`: one query after the other |
//! | messages that wait for one account, up to the setting `offline_bytes` | `MESSAGES` = 10000 | a sender's account, or another domain: the rule, for messages and bytes | `ext/offline.rs` | `service-unavailable`: too much of yours waits for them |
//! | requests for a subscription that wait for one account | `PENDING_ITEMS` = 200, `PENDING_BYTES` = 256 KiB | an account is one; the accounts of another domain, the rule | `core/roster/list.rs` | `resource-constraint` |
//! | requests that wait for storage | `READING_BYTES` = 16 MiB | an account or a component: the rule | `core/reading.rs` | `resource-constraint`: wait for the answers |
//! | streams that have ended and may be asked about, and the messages that their clients may have seen | `ENDED_STREAMS` = 1024, `ENDED_MESSAGES` = 32768 | an account: who has most loses first | `core/message/streams.rs` | its oldest is forgotten: its client gets what it may have seen again |
//! | bytes that clients have not acknowledged, or have not come back for: half of the setting `waiting_bytes` | `WAITING_FREE_BYTES` = 256 KiB | an account: the rule, and that in any case | `core/message/waiting.rs` | its session with most of it ends with `resource-constraint`; its messages are kept |
//! | what comes while a session is handed what was stored for it | `BEHIND_BYTES` = 256 KiB | who says something to it, in a room each occupant: the rule | `core/message/progress.rs` | `resource-constraint`: later; presence, and what is said in a room, is dropped |
//! | the disk and the archive: what is stored within a day | `WRITTEN_FREE_BYTES` = 1 MiB | an account, a component, the site of another server, and all those together: as much as is left on the disk, and half of the archive; that in any case | `core/written.rs` | `resource-constraint`, of messages and requests that change something: later it can store again |
//! | attempts to log in that wait, and failures that are remembered | `WAITING` = 512, `WAITING_OF_NETWORK` = 64, `REMEMBERED` = 4096, `FREE_OF_NETWORK` = 20, `FREE_OF_ACCOUNT` = 20 | an account in a network, an account from elsewhere, a network at accounts it does not know: each its own delay, and that number of failures without one; a network: the second number of attempts | `core/throttle.rs` | waits; one of too many is not answered |
//! | invitations that are open | `INVITATIONS` = 1024, `OWNER_INVITATIONS` = 256, `ADMINS_INVITATIONS` = 256, `ADMIN_INVITATIONS` = 100, `ACCOUNT_INVITATIONS` = 5, `CHAIN_INVITATIONS` = 20, `STRANGERS_INVITATIONS` = 128 | the owner of the box: the second number in any case, the administrators the third, one of them the fourth; an account: the fifth, and with all whom it has brought, one through the other, the sixth, also of accounts made within a day; all who have registered openly: the last | `core/invitation.rs` | `resource-constraint`: when one is taken, or its time is over; of a chain: a day later |
//! | what waits for a stream to another server | `PEER_OUTBOXES_BYTES` = 4 MiB, `PEER_OUTBOX_BYTES` = 256 KiB, `OUTBOX_STANZAS` = 128, `PINNED_OUTBOX_BYTES` = 1 MiB | an account, or the domain of a component: the rule; between two domains, the next two, or the last if the owner has pinned the other | `core/peers/outbox.rs` | `resource-constraint`: wait until that server is reached; presence is dropped |
//! | what was written to other servers and they have not acknowledged | `PEERS_UNACKNOWLEDGED_BYTES` = 4 MiB, `PEER_UNACKNOWLEDGED_BYTES` = 1 MiB | between two domains: the rule, and the second | `core/peers/session.rs` | more waits, as for a stream |
//! | streams to other servers that are being made; pairs of domains that are remembered because of somebody elsewhere | `DIALS` = 64, `PEER_LINES` = 1024 | an account, or a site elsewhere: the rule | `core/peers/table.rs` | `resource-constraint`: later; nothing is said to that domain on the stream that it has made |
//! | commands that have begun and wait for their form | `SESSIONS` = 1024, `ACCOUNT_SESSIONS` = 8 | an account: that number, its oldest goes; if there are too many in all, who has most loses first | `ext/commands/mod.rs` | `session-expired` when it goes on with the oldest |
//! | accounts that strangers make in an hour, and the addresses remembered for that | `SERVER_ACCOUNTS` = 100, `ADDRESSES` = 1024, `ADDRESS_ATTEMPTS` = 20 | an address: as many accounts as the setting `registrations_an_hour` says, and that number of attempts, or twice that if it is more; an IPv6 network of 48 bits: the rule | `ext/register.rs` | `resource-constraint`: try again in an hour |
//! | questions to storage | `QUESTIONS` = 8 | an account, a component, another server or an address: that number at a time | `service/share.rs` | is not read from until one is answered |
//! | what waits for a client that reads slowly, or has not acknowledged it | `SLOW_BYTES` = 512 KiB, `SLOW_BYTES_A_SECOND` = 65536 | whoever says something to it while more than the first number waits: the second number | `service/share.rs` | is read from more slowly |
//! | bytes on their way to the disk | `UNWRITTEN_BYTES` = 4 MiB, `UNWRITTEN_FREE_BYTES` = 64 KiB | an account, a component, another server or an address: the rule, and the latter in any case | `service/share.rs` | is not read from until some of it is written; while nothing can be written, what has to be is refused |
//! | bytes that wait for clients to read them, and of stanzas that have no end yet: half of the setting `waiting_bytes` | `WAITING_FREE_BYTES` = 256 KiB | an account, a component, another server or an address: the rule, and that in any case | `service/share.rs` | stream error `resource-constraint` |
//! | the processor, in turns | `TURN_US` = 2000, `SHORT_TURN_US` = 500, `PROCESSOR_PART` = 4 | an account, a component, another server or an address: a turn of so many microseconds, of fewer while others have lined up, one connection of each after the other; who needs less than one of so many parts of a processor does not line up | `service/share.rs` | waits for its next turn |
//! | connections, and the descriptors and the memory for them: the setting `connections`, but no more than the system has | `KEPT_DESCRIPTORS` = 80, `ACCOUNT_CONNECTIONS` = 64 | an address: the setting `connections_per_address`, and when all are taken, the one with most that have not logged in loses its oldest; an account: the latter number | `service/net/listen.rs` | the connection is closed; stream error `resource-constraint` after a login |
//! | uploaded files, and slots that wait for one; their bytes: the setting `total_bytes` of `[uploads]` | `FILES` = 32768, `ACCOUNT_FILES` = 8192, `SLOTS` = 1024, `ACCOUNT_SLOTS` = 32, `ACCOUNT_UPLOADS` = 4 | an account: those numbers, and the setting `account_bytes` for what is kept and for what is uploaded within a day | `service/disk/files/room.rs` | its oldest files go; `resource-constraint`, with the time to try again |
//! <!-- /shares -->

pub mod core;
pub mod ext;
pub mod service;
pub mod store;
pub mod stream;
pub mod web;
pub mod wire;
