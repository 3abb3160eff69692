//! Places: members of sorted sets whose scores are cells of the Earth's surface.

mod cell;
mod search;
mod shape;

use super::support::float;
use super::{Command, Flags, Group, Handled, Keys};
use crate::engine::Context;
use crate::resp::{Args, CommandError, OwnedArgs, Reply, errors};
use crate::store::ZSet;

use cell::{Cell, Place};
use search::Variant;

const READ: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE.with(Flags::DENYOOM);
const ROW: Command =
    Command { group: Group::Geo, keys: Keys::ONE, flags: READ, since: "3.2.0", ..Command::ROW };

pub const COMMANDS: &[Command] = &[
    Command {
        name: "geoadd",
        arity: -5,
        flags: WRITE,
        summary: "Adds places to a sorted set, or moves them.",
        handler: geoadd,
        ..ROW
    },
    Command {
        name: "geodist",
        arity: -4,
        summary: "Returns the distance between two places.",
        handler: search::geodist,
        ..ROW
    },
    Command {
        name: "geohash",
        arity: -2,
        summary: "Returns the geohashes of places.",
        handler: geohash,
        ..ROW
    },
    Command {
        name: "geopos",
        arity: -2,
        summary: "Returns the longitudes and latitudes of places.",
        handler: geopos,
        ..ROW
    },
    Command {
        name: "georadius",
        arity: -6,
        flags: WRITE.with(Flags::MOVABLE_KEYS),
        summary: "Finds the places within a distance, and may store them.",
        handler: |cx| search::search(cx, Variant::Radius(true)),
        ..ROW
    },
    Command {
        name: "georadius_ro",
        arity: -6,
        since: "3.2.10",
        summary: "Finds the places within a distance.",
        handler: |cx| search::search(cx, Variant::Radius(false)),
        ..ROW
    },
    Command {
        name: "georadiusbymember",
        arity: -5,
        flags: WRITE.with(Flags::MOVABLE_KEYS),
        summary: "Finds the places within a distance of a member, and may store them.",
        handler: |cx| search::search(cx, Variant::RadiusByMember(true)),
        ..ROW
    },
    Command {
        name: "georadiusbymember_ro",
        arity: -5,
        since: "3.2.10",
        summary: "Finds the places within a distance of a member.",
        handler: |cx| search::search(cx, Variant::RadiusByMember(false)),
        ..ROW
    },
    Command {
        name: "geosearch",
        arity: -7,
        since: "6.2.0",
        summary: "Finds the places within a circle, a box or a polygon.",
        handler: |cx| search::search(cx, Variant::Search),
        ..ROW
    },
    Command {
        name: "geosearchstore",
        arity: -8,
        flags: WRITE,
        keys: Keys::Range { first: 1, last: 2, step: 1 },
        since: "6.2.0",
        summary: "Stores the places within a circle, a box or a polygon.",
        handler: |cx| search::search(cx, Variant::SearchStore),
        ..ROW
    },
];

/// The place that a longitude and a latitude at `args[at]` name.
fn place(args: Args<'_>, at: usize) -> Result<Place, CommandError> {
    let place = Place { longitude: float(args.at(at))?, latitude: float(args.at(at + 1))? };
    if !place.is_valid() {
        let Place { longitude, latitude } = place;
        let pair = format!("{longitude:.6},{latitude:.6}");
        return Err(format!("ERR invalid longitude,latitude pair {pair}").into());
    }
    Ok(place)
}

fn member_place(zset: &ZSet, member: &[u8]) -> Result<Place, CommandError> {
    let score = zset.score(member).ok_or_else(|| {
        let name = String::from_utf8_lossy(member);
        CommandError::from(format!("ERR member {name} does not exist"))
    })?;
    Ok(Place::of_score(score))
}

/// Metres of a unit.
fn unit(word: &[u8]) -> Result<f64, CommandError> {
    let units = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let found = units.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    found
        .map(|(_, metres)| *metres)
        .ok_or_else(|| "ERR unsupported unit provided. please use M, KM, FT, MI".into())
}

/// A distance with four digits behind the point.
fn write_distance(reply: &mut Reply<'_>, distance: f64) {
    let scaled = (distance * 10_000.0).round_ties_even() as i64;
    let (whole, rest) = (scaled / 10_000, scaled % 10_000);
    reply.bulk(format!("{whole}.{rest:04}").as_bytes());
}

fn write_place(reply: &mut Reply<'_>, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        if reply.is_resp3() {
            reply.raw(format!(",{text}\r\n").as_bytes());
        } else {
            reply.bulk(text.as_bytes());
        }
    }
}

/// GEOADD is ZADD with scores for places, and goes to replicas as that.
fn geoadd(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let is_option = |word: &&[u8]| {
        ["nx", "xx", "ch"].iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
    };
    let options = args.iter().skip(2).take_while(is_option).count();
    let has = |name: &str| (2..2 + options).any(|at| args.is(at, name));
    let first = 2 + options;
    if !(args.len() - first).is_multiple_of(3) || has("nx") && has("xx") {
        return Err(errors::SYNTAX.into());
    }
    let mut words: Vec<Vec<u8>> = vec![b"ZADD".to_vec()];
    words.extend((1..first).map(|at| args.at(at).to_vec()));
    for at in (first..args.len()).step_by(3) {
        let score = place(args, at)?.score();
        words.push((score as u64).to_string().into_bytes());
        words.push(args.at(at + 2).to_vec());
    }
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let owned = OwnedArgs::composed(words.iter().copied()).ok_or(errors::TOO_LONG)?;
    super::zset::zadd(&mut Context {
        engine: cx.engine,
        client: cx.client,
        args: owned.args(),
        row: cx.row,
        in_exec: cx.in_exec,
        timed_out: cx.timed_out,
        from_primary: cx.from_primary,
    })?;
    if cx.has_changed() {
        cx.propagate(&words);
    }
    Ok(())
}

/// Calls `write` for each member that follows the key: its place, or `None`.
fn each_member(cx: &mut Context<'_>, write: impl Fn(&mut Reply<'_>, Option<Place>)) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let zset: Option<&ZSet> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let mut reply = client.reply();
    reply.array(args.len() - 2);
    for member in args.tail(2).iter() {
        let score = zset.and_then(|zset| zset.score(member));
        write(&mut reply, score.map(Place::of_score));
    }
    Ok(())
}

fn geohash(cx: &mut Context<'_>) -> Handled {
    each_member(cx, |reply, place| match place {
        Some(place) => reply.bulk(&Cell::letters(place)),
        None => reply.null(),
    })
}

fn geopos(cx: &mut Context<'_>) -> Handled {
    each_member(cx, |reply, place| match place {
        Some(place) => write_place(reply, place),
        None => reply.null_array(),
    })
}
