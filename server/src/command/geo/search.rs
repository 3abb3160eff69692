//! GEORADIUS, GEORADIUSBYMEMBER, GEOSEARCH and their storing and reading forms.

use super::shape::{Form, Shape, distance_m};
use super::{Place, member_place, place, unit, write_distance, write_place};
use crate::command::Handled;
use crate::command::support::{int, wrote};
use crate::config::EventClasses;
use crate::engine::Context;
use crate::resp::num::{parse_f64, parse_i64};
use crate::resp::{Args, CommandError, errors};
use crate::store::ZSet;

/// Which of the commands runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Around a place; `true` may store.
    Radius(bool),
    /// Around a member; `true` may store.
    RadiusByMember(bool),
    Search,
    SearchStore,
}

impl Variant {
    fn is_search(self) -> bool {
        matches!(self, Self::Search | Self::SearchStore)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    None,
    Ascending,
    Descending,
}

/// What a search asks for. The centre is absent while the key is, whose members may be it.
#[allow(clippy::struct_excessive_bools)]
struct Query<'a> {
    centre: Option<Place>,
    form: Option<Form>,
    /// Metres of the unit that lengths and distances are in.
    unit_m: f64,
    from_member: bool,
    order: Order,
    /// 0 is no bound.
    count: usize,
    any: bool,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

fn radius(args: Args<'_>, at: usize) -> Result<(Form, f64), CommandError> {
    let radius = parse_f64(args.at(at)).ok_or("ERR need numeric radius")?;
    if radius < 0.0 {
        return Err("ERR radius cannot be negative".into());
    }
    let unit_m = unit(args.at(at + 1))?;
    Ok((Form::Circle { radius_m: radius * unit_m }, unit_m))
}

fn rectangle(args: Args<'_>, at: usize) -> Result<(Form, f64), CommandError> {
    let width = parse_f64(args.at(at)).ok_or("ERR need numeric width")?;
    let height = parse_f64(args.at(at + 1)).ok_or("ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err("ERR height or width cannot be negative".into());
    }
    let unit_m = unit(args.at(at + 2))?;
    Ok((Form::Box { width_m: width * unit_m, height_m: height * unit_m }, unit_m))
}

/// The corners of a polygon, whose number stands at `args[at]`; and where they end.
fn polygon(args: Args<'_>, at: usize) -> Result<(Vec<Place>, usize), CommandError> {
    let count = parse_i64(args.at(at))
        .filter(|count| i32::try_from(*count).is_ok())
        .ok_or("ERR invalid number of vertices")?;
    let possible = (args.len() - at - 1) / 2;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| (3..=possible).contains(count))
        .ok_or("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices")?;
    let corners = (0..count).map(|index| place(args, at + 1 + index * 2));
    Ok((corners.collect::<Result<_, _>>()?, at + count * 2))
}

impl<'a> Query<'a> {
    fn read(args: Args<'a>, variant: Variant, zset: Option<&ZSet>) -> Result<Self, CommandError> {
        let mut query = Self {
            centre: None,
            form: None,
            unit_m: 1.0,
            from_member: false,
            order: Order::None,
            count: 0,
            any: false,
            with_distance: false,
            with_hash: false,
            with_place: false,
            store: (variant == Variant::SearchStore).then(|| args.at(1)),
            store_distance: false,
        };
        let mut at = match variant {
            Variant::Radius(_) => {
                query.centre = Some(place(args, 2)?);
                query.set_form(radius(args, 4)?);
                6
            }
            Variant::RadiusByMember(_) => {
                if let Some(zset) = zset {
                    query.centre = Some(member_place(zset, args.at(2))?);
                    query.set_form(radius(args, 3)?);
                }
                5
            }
            Variant::Search => 2,
            Variant::SearchStore => 3,
        };
        while at < args.len() {
            at = match query.read_common(args, at, variant)? {
                Some(next) => next,
                None if variant.is_search() => query.read_form(args, at, zset)?,
                None => return Err(errors::SYNTAX.into()),
            };
        }
        query.check(args, variant)?;
        // The closest few can only be told in order.
        if query.count > 0 && query.order == Order::None && !query.any {
            query.order = Order::Ascending;
        }
        Ok(query)
    }

    fn set_form(&mut self, (form, unit_m): (Form, f64)) {
        self.form = Some(form);
        self.unit_m = unit_m;
    }

    /// Reads an option that all commands have; where the next one begins.
    fn read_common(
        &mut self,
        args: Args<'a>,
        at: usize,
        variant: Variant,
    ) -> Result<Option<usize>, CommandError> {
        let stores = matches!(variant, Variant::Radius(true) | Variant::RadiusByMember(true));
        let more = at + 1 < args.len();
        if args.is(at, "withdist") {
            self.with_distance = true;
        } else if args.is(at, "withhash") {
            self.with_hash = true;
        } else if args.is(at, "withcoord") {
            self.with_place = true;
        } else if args.is(at, "any") {
            self.any = true;
        } else if args.is(at, "asc") {
            self.order = Order::Ascending;
        } else if args.is(at, "desc") {
            self.order = Order::Descending;
        } else if args.is(at, "count") && more {
            let count = int(args.at(at + 1))?;
            if count <= 0 {
                return Err("ERR COUNT must be > 0".into());
            }
            self.count = count as usize;
            return Ok(Some(at + 2));
        } else if stores && more && (args.is(at, "store") || args.is(at, "storedist")) {
            self.store = Some(args.at(at + 1));
            self.store_distance = args.is(at, "storedist");
            return Ok(Some(at + 2));
        } else if variant == Variant::SearchStore && args.is(at, "storedist") {
            self.store_distance = true;
        } else {
            return Ok(None);
        }
        Ok(Some(at + 1))
    }

    /// Reads GEOSEARCH's centre or form; where the next option begins.
    fn read_form(
        &mut self,
        args: Args<'a>,
        at: usize,
        zset: Option<&ZSet>,
    ) -> Result<usize, CommandError> {
        let left = args.len() - at - 1;
        let (circle, rectangular, polygonal) = match self.form {
            Some(Form::Circle { .. }) => (true, false, false),
            Some(Form::Box { .. }) => (false, true, false),
            Some(Form::Polygon(_)) => (false, false, true),
            None => (false, false, false),
        };
        let from_place = self.centre.is_some() && !self.from_member;
        if args.is(at, "frommember") && left >= 1 && !from_place && !polygonal {
            if let Some(zset) = zset {
                self.centre = Some(member_place(zset, args.at(at + 1))?);
            }
            self.from_member = true;
            Ok(at + 2)
        } else if args.is(at, "fromlonlat") && left >= 2 && !self.from_member && !polygonal {
            self.centre = Some(place(args, at + 1)?);
            Ok(at + 3)
        } else if args.is(at, "byradius") && left >= 2 && !rectangular && !polygonal {
            self.set_form(radius(args, at + 1)?);
            Ok(at + 3)
        } else if args.is(at, "bybox") && left >= 3 && !circle && !polygonal {
            self.set_form(rectangle(args, at + 1)?);
            Ok(at + 4)
        } else if args.is(at, "bypolygon")
            && left >= 2
            && !circle
            && !rectangular
            && !self.from_member
            && !from_place
        {
            let (corners, last) = polygon(args, at + 1)?;
            self.set_form((Form::Polygon(corners), 1.0));
            Ok(last + 1)
        } else {
            Err(errors::SYNTAX.into())
        }
    }

    /// Refuses what does not go together.
    fn check(&self, args: Args<'_>, variant: Variant) -> Handled {
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_place) {
            let what = match variant {
                Variant::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            let rest = "is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
            return Err(format!("ERR {what} {rest}").into());
        }
        let name = || String::from_utf8_lossy(args.at(0)).into_owned();
        let has_centre = self.centre.is_some()
            || self.from_member
            || matches!(self.form, Some(Form::Polygon(_)));
        if variant.is_search() && !has_centre {
            let text = "exactly one of FROMMEMBER or FROMLONLAT can be specified for";
            return Err(format!("ERR {text} {}", name()).into());
        }
        if variant.is_search() && self.form.is_none() {
            let text = "exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for";
            return Err(format!("ERR {text} {}", name()).into());
        }
        if self.any && self.count == 0 {
            return Err("ERR the ANY argument requires COUNT argument".into());
        }
        Ok(())
    }

    /// What lies within the shape, ordered and cut as asked for.
    fn run(&self, zset: &ZSet) -> Vec<Found> {
        let shape = match (&self.form, self.centre) {
            (Some(Form::Polygon(corners)), _) => Shape::polygon(corners.clone()),
            (Some(form), Some(centre)) => Shape { centre, form: form.clone() },
            _ => return Vec::new(),
        };
        let enough = if self.any { self.count } else { usize::MAX };
        let mut found = Vec::new();
        for cell in shape.cells() {
            let (from, to) = cell.scores();
            let start = zset.prefix(|score, _| score < from);
            for (member, score) in zset.range(start, zset.len(), false) {
                if score >= to || found.len() >= enough {
                    break;
                }
                let place = Place::of_score(score);
                if let Some(distance_m) = shape.holds(place) {
                    let distance = distance_m / self.unit_m;
                    found.push(Found {
                        member: member.to_vec(),
                        score,
                        place,
                        distance_m,
                        distance,
                    });
                }
            }
        }
        match self.order {
            Order::None => {}
            Order::Ascending => found.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m)),
            Order::Descending => found.sort_by(|a, b| b.distance_m.total_cmp(&a.distance_m)),
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }
}

struct Found {
    member: Vec<u8>,
    score: f64,
    place: Place,
    distance_m: f64,
    /// In the unit that was asked for.
    distance: f64,
}

pub fn search(cx: &mut Context<'_>, variant: Variant) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let source = if variant == Variant::SearchStore { 2 } else { 1 };
    let zset: Option<&ZSet> = engine.keyspace.db_mut(client.db).typed(args.at(source))?;
    let query = Query::read(*args, variant, zset)?;
    let found = zset.map(|zset| query.run(zset)).unwrap_or_default();
    if let Some(target) = query.store {
        return store(cx, variant, target, &query, &found);
    }
    let mut reply = cx.client.reply();
    reply.array(found.len());
    let extras = [query.with_distance, query.with_hash, query.with_place];
    let extras = extras.iter().filter(|wanted| **wanted).count();
    for Found { member, score, place, distance, .. } in &found {
        if extras > 0 {
            reply.array(extras + 1);
        }
        reply.bulk(member);
        if query.with_distance {
            write_distance(&mut reply, *distance);
        }
        if query.with_hash {
            reply.int(*score as i64);
        }
        if query.with_place {
            write_place(&mut reply, *place);
        }
    }
    Ok(())
}

/// Stores the result as a sorted set, by the places' scores or by distance.
fn store(
    cx: &mut Context<'_>,
    variant: Variant,
    target: &[u8],
    query: &Query<'_>,
    found: &[Found],
) -> Handled {
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let limits = db.limits();
    let mut zset = ZSet::new();
    for item in found {
        let score = if query.store_distance { item.distance } else { item.score };
        zset.set(&item.member, score, &limits);
    }
    if found.is_empty() {
        if db.remove(target) {
            wrote(cx, target, 1);
            cx.signal(target);
            cx.notify(EventClasses::GENERIC, "del", target);
        }
    } else {
        db.insert(target, zset.into());
        wrote(cx, target, found.len());
        cx.signal(target);
        let event = if variant.is_search() { "geosearchstore" } else { "georadiusstore" };
        cx.notify(EventClasses::ZSET, event, target);
    }
    cx.client.reply().int(found.len() as i64);
    Ok(())
}

/// GEODIST.
pub fn geodist(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let unit_m = match args.len() {
        4 => 1.0,
        5 => unit(args.at(4))?,
        _ => return Err(errors::SYNTAX.into()),
    };
    let zset: Option<&ZSet> = engine.keyspace.db_mut(client.db).typed(args.at(1))?;
    let place = |at: usize| zset.and_then(|zset| zset.score(args.at(at))).map(Place::of_score);
    match (place(2), place(3)) {
        (Some(a), Some(b)) => write_distance(&mut client.reply(), distance_m(a, b) / unit_m),
        _ => client.reply().null(),
    }
    Ok(())
}
