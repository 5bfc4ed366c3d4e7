//! One tick means it is on the flash. The real binary over TLS, with seven devices that chat with stream management and remember
//! what was acknowledged; the server is killed, or its power is cut, at random moments, again and again. In the end nothing that
//! was acknowledged is missing, nothing has come twice, everything is in order, and so is the archive.
//!
//! `INGLENOOK_ROUNDS` (20 unless set) is the number of kills, and of cuts; `INGLENOOK_SEED` chooses other moments.
//! `INGLENOOK_DURABILITY_SHOW=1` shows all that the devices say and hear.
//! `INGLENOOK_DURABILITY_PEER=prosody` does the same with Prosody, if it is installed, and shows the figures.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod board;
#[path = "../common/mod.rs"]
mod common;
#[path = "../storage/cut.rs"]
mod cut;
mod device;
mod library;
mod peer;
mod stream;

use board::{Board, Figures, Phase, Up, Waited};
use common::Random;
use common::binary::LONG;
use cut::Disk;
use device::{DEVICES, Device};
use peer::{Peer, Running, Shim};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// When nothing at all has happened for so long, nothing more will.
const QUIET: Duration = Duration::from_secs(5);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    test("kills", End::Kill);
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts() {
    test("power cuts", End::Cut);
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts_that_leave_something() {
    test("power cuts that leave something", End::Ragged);
}

/// How a server ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Kill,
    /// All that was not synced is gone.
    Cut,
    /// Some of what was not synced is there all the same, in any order.
    Ragged,
}

/// The same numbers for the same question in every run. The first steps from similar seeds are similar.
fn dice(seed: u64, round: u64, question: u64) -> Random {
    let mut random = Random::new(seed.wrapping_mul(1_000_003) ^ (round << 20) ^ question);
    for _ in 0..8 {
        random.below(2);
    }
    random
}

fn test(name: &str, end: End) {
    let (seed, rounds) = (setting("INGLENOOK_SEED", 1), setting("INGLENOOK_ROUNDS", 20));
    let begin = Instant::now();
    let peer = Peer::new();
    let what = format!("{}, {rounds} {name}, seed {seed}", peer.name());
    let figures = play(&peer, &what, seed, rounds, end);
    let figures_of = format!("{what}, in {:.1} s: {figures}", begin.elapsed().as_secs_f32());
    assert!(!peer.is_ours() || figures.clean(), "{figures_of}");
    assert!(figures.acked > rounds, "too few messages were acknowledged to show anything");
    eprintln!("{figures_of}");
}

/// The whole play: rounds that end badly, a round in which everything can arrive, and a look at what is there.
fn play(peer: &Peer, what: &str, seed: u64, rounds: u64, end: End) -> Figures {
    let shows = std::env::var_os("INGLENOOK_DURABILITY_SHOW").is_some();
    let board = Arc::new(Board::new(shows));
    let devices: Vec<_> = (0..DEVICES.len())
        .map(|at| {
            let (board, device) = (board.clone(), Device::new(at, seed, board.clone(), peer.trust.clone()));
            thread::spawn(move || {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| device.run())) {
                    let text = panic.downcast_ref::<String>().cloned();
                    board.died(text.or(panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default());
                }
            })
        })
        .collect();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let shim = (end != End::Kill).then(|| Shim::new(peer, &cut::shim()));
        for round in 1..=rounds {
            match &shim {
                Some(shim) => cut_power(peer, shim, &board, seed, round, end),
                None => {
                    let server = peer.start(None);
                    until_the_moment(server, &board, seed, round).kill();
                }
            }
        }
        finish(peer, &board, rounds);
    }));
    board.over();
    devices.into_iter().for_each(|device| device.join().unwrap());
    board.with(|state| {
        let figures = Figures::of(state);
        let c = &state.counts;
        eprintln!(
            "{what}: {} times resumed, {} times not with and {} times without an h, {} messages came back as errors",
            c.resumed, c.failed_with_h, c.failed_without_h, c.bounced
        );
        if let Err(panic) = ended {
            eprintln!("{what}: it broke off; so far {figures}");
            std::panic::resume_unwind(panic);
        }
        figures
    })
}

/// Lets the devices chat until the moment when this round's server has to go.
fn until_the_moment(mut server: Running, board: &Board, seed: u64, round: u64) -> Running {
    let mut random = dice(seed, round, 7_919);
    // Sometimes while they log in; otherwise when some messages have been acknowledged.
    let (acks, most_us) = match random.below(4) {
        0 => (0, 100_000),
        1 => (1 + random.below(board::expected_acks(seed, round) as usize), 5_000),
        _ => (1 + random.below(board::expected_acks(seed, round) as usize), 120_000),
    };
    board.server_is_up(Up { address: server.address, round, phase: Phase::Chat });
    let waited = board.wait_for(LONG / 2, LONG, board.acks(acks as u64));
    server.must_live();
    assert_eq!(waited, Waited::Happened, "{acks} messages are not acknowledged in round {round}");
    thread::sleep(Duration::from_micros(random.below(most_us) as u64));
    board.server_goes();
    server
}

/// A round that ends with a power cut.
fn cut_power(peer: &Peer, shim: &Shim, board: &Board, seed: u64, round: u64, end: End) {
    shim.reset();
    let mut disk = Disk::scan(&peer.data());
    let server = peer.start(Some(shim));
    until_the_moment(server, board, seed, round).kill();
    // They begin with the program: without them it ran without the library, and nothing would count as synced.
    disk.replay(&fs::read(&shim.notes).expect("the library took notes"));
    if end == End::Ragged {
        let mut random = dice(seed, round, 104_729);
        let share = random.below(4);
        disk.survive(&Disk::scan(&peer.data()), &mut || random.below(4) <= share);
    }
    disk.build(&peer.data());
}

fn finish(peer: &Peer, board: &Board, rounds: u64) {
    let mut server = peer.start(None);
    board.server_is_up(Up { address: server.address, round: rounds + 1, phase: Phase::Finish });
    // In vain: the figures will say what is missing.
    let _ = board.wait_for(QUIET, LONG, |state| state.complete());
    server.must_live();
    board.server_goes();
    server.stop();
    let mut server = peer.start(None);
    board.server_is_up(Up { address: server.address, round: rounds + 2, phase: Phase::Look });
    let looked = board.wait_for(LONG / 2, LONG * 2, |state| state.done == DEVICES.len());
    server.must_live();
    assert_eq!(looked, Waited::Happened, "the archives cannot be read");
    board.server_goes();
    server.stop();
}
