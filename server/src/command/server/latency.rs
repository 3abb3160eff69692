//! LATENCY.

use super::{ADMIN, HELP};
use crate::command::{Command, Group, Handled};
use crate::engine::Context;
use crate::engine::measure::Event;

const ROW: Command =
    Command { group: Group::Server, arity: 2, flags: ADMIN, since: "2.8.13", ..Command::ROW };

pub const SUBCOMMANDS: &[Command] = &[
    Command { name: "doctor", summary: "Tells in words what was slow.", handler: doctor, ..ROW },
    Command {
        name: "graph",
        arity: 3,
        summary: "Draws the latencies of an event.",
        handler: graph,
        ..ROW
    },
    Command {
        name: "histogram",
        arity: -2,
        since: "7.0.0",
        summary: "Returns how long commands took, in doubling spans.",
        handler: histogram,
        ..ROW
    },
    Command {
        name: "history",
        arity: 3,
        summary: "Returns the latencies of an event with their times.",
        handler: history,
        ..ROW
    },
    Command {
        name: "latest",
        summary: "Returns the last latency of each event.",
        handler: latest,
        ..ROW
    },
    Command {
        name: "reset",
        arity: -2,
        summary: "Forgets the latencies of events.",
        handler: reset,
        ..ROW
    },
    Command { handler: |cx| super::help(cx, "LATENCY", SUBCOMMANDS), since: "2.8.13", ..HELP },
];

fn named<'a>(cx: &'a Context<'_>, at: usize) -> Option<(&'static str, &'a Event)> {
    let name = cx.args.at(at);
    let found = cx.engine.measures.events.iter().find(|(own, _)| own.as_bytes() == name)?;
    Some((*found.0, found.1))
}

fn latest(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, .. } = cx;
    let mut reply = client.reply();
    reply.array(engine.measures.events.len());
    for (name, event) in &engine.measures.events {
        let (at_s, ms) = event.samples.back().copied().unwrap_or_default();
        reply.array(6);
        reply.bulk(name.as_bytes());
        reply.int(at_s);
        for number in [ms, event.max_ms, event.sum_ms, event.count] {
            reply.int(number as i64);
        }
    }
    Ok(())
}

fn history(cx: &mut Context<'_>) -> Handled {
    let samples = named(cx, 2).map(|(_, event)| event.samples.clone()).unwrap_or_default();
    let mut reply = cx.client.reply();
    reply.array(samples.len());
    for (at_s, ms) in samples {
        reply.array(2);
        reply.int(at_s);
        reply.int(ms as i64);
    }
    Ok(())
}

fn reset(cx: &mut Context<'_>) -> Handled {
    let events = &mut cx.engine.measures.events;
    let before = events.len();
    if cx.args.len() == 2 {
        events.clear();
    }
    for name in cx.args.iter().skip(2) {
        events.retain(|own, _| own.as_bytes() != name);
    }
    let count = before - events.len();
    cx.client.reply().int(count as i64);
    Ok(())
}

/// Heights of the drawing, with two steps for each line of text.
const LINES: usize = 4;

fn graph(cx: &mut Context<'_>) -> Handled {
    let Some((name, event)) = named(cx, 2) else {
        let name = String::from_utf8_lossy(cx.args.at(2));
        return Err(format!("ERR No samples available for event '{name}'").into());
    };
    let now_s = cx.engine.now.unix_us / 1_000_000;
    let high = event.samples.iter().map(|(_, ms)| *ms).max().unwrap_or(0);
    let low = event.samples.iter().map(|(_, ms)| *ms).min().unwrap_or(0);
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        event.max_ms,
        "-".repeat(80)
    );
    let steps = LINES * 2;
    let height = |ms: u64| 1 + ((ms - low) as usize * (steps - 1)) / (high - low).max(1) as usize;
    for line in (0..LINES).rev() {
        for (_, ms) in &event.samples {
            text.push(match height(*ms).saturating_sub(line * 2) {
                0 => ' ',
                1 => '_',
                _ if height(*ms) <= line * 2 + 2 => '#',
                _ => '|',
            });
        }
        text.push('\n');
    }
    let ages: Vec<String> = event.samples.iter().map(|(at_s, _)| age(now_s - at_s)).collect();
    let longest = ages.iter().map(String::len).max().unwrap_or(0);
    for at in 0..longest {
        text.push('\n');
        let letter = |age: &String| age.chars().nth(at).unwrap_or(' ');
        text.extend(ages.iter().map(letter));
    }
    text.push('\n');
    cx.client.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn doctor(cx: &mut Context<'_>) -> Handled {
    use std::fmt::Write as _;
    let mut text = String::new();
    let threshold_ms = cx.engine.config.latency_monitor_threshold_ms;
    if threshold_ms == 0 && cx.engine.measures.events.is_empty() {
        text.push_str(
            "Latency is not watched. CONFIG SET latency-monitor-threshold <milliseconds> begins \
             to note what takes at least that long.",
        );
    } else if cx.engine.measures.events.is_empty() {
        text.push_str("No latency spike was observed since the start, or the last reset.");
    } else {
        text.push_str("Latency spikes were observed:\n\n");
        for (name, event) in &cx.engine.measures.events {
            let mean = event.sum_ms / event.count.max(1);
            let (count, max) = (event.count, event.max_ms);
            writeln!(text, "- {name}: {count} spikes, mean {mean} ms, worst {max} ms.")
                .expect("a string takes everything");
        }
        text.push_str(
            "\nSLOWLOG GET shows which commands were slow. Commands over large collections are \
             best split, and large keys best deleted with UNLINK.\n",
        );
    }
    cx.client.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

fn histogram(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let asked: Vec<String> = args
        .iter()
        .skip(2)
        .map(|name| String::from_utf8_lossy(name).to_ascii_lowercase())
        .collect();
    let wanted = |name: &str| {
        let parent = name.split('|').next().unwrap_or(name);
        asked.is_empty() || asked.iter().any(|asked| asked == name || asked == parent)
    };
    let rows: Vec<_> = engine
        .measures
        .rows
        .iter()
        .filter(|row| row.histogram.is_some() && wanted(&row.name))
        .collect();
    let mut reply = client.reply();
    reply.map(rows.len());
    for row in rows {
        let spans = row.histogram.as_ref().map(|own| own.doubling()).unwrap_or_default();
        reply.bulk(row.name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.int(row.calls as i64);
        reply.bulk(b"histogram_usec");
        reply.map(spans.len());
        for (us, count) in spans {
            reply.int(us as i64);
            reply.int(count as i64);
        }
    }
    Ok(())
}
