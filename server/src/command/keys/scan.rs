//! Walking the keyspace.

use crate::command::Handled;
use crate::command::support::{ScanOf, ScanOptions};
use crate::engine::Context;
use crate::glob;

pub fn scan(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let cursor = ScanOptions::cursor(args.at(1))?;
    let options = ScanOptions::parse(*args, cursor, 2, ScanOf::Keys)?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut ended: Vec<Vec<u8>> = Vec::new();
    let db = engine.keyspace.db_mut(client.db);
    let next = db.scan(options.cursor, options.count, |key, value| {
        let Some(value) = value else { return ended.push(key.to_vec()) };
        let kind = options.type_name;
        let fits = kind.is_none_or(|kind| kind.eq_ignore_ascii_case(value.type_name().as_bytes()));
        if fits && options.wants(key) {
            found.push(key.to_vec());
        }
    });
    // Whoever comes to a key whose time has come removes it.
    for key in ended {
        db.contains(&key);
    }
    let mut reply = client.reply();
    reply.array(2);
    reply.bulk(next.to_string().as_bytes());
    reply.array(found.len());
    for key in &found {
        reply.bulk(key);
    }
    Ok(())
}

pub fn keys(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let pattern = args.at(1);
    let mut found: Vec<Vec<u8>> = Vec::new();
    engine.keyspace.db(client.db).each(|key, _, _| {
        if pattern == b"*" || glob::matches(pattern, key) {
            found.push(key.to_vec());
        }
    });
    let mut reply = client.reply();
    reply.array(found.len());
    for key in &found {
        reply.bulk(key);
    }
    Ok(())
}

pub fn randomkey(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, .. } = cx;
    let random = &mut engine.rooms.random;
    match engine.keyspace.db_mut(client.db).random_key(|| random.draw()) {
        Some(key) => client.reply().bulk(&key),
        None => client.reply().null(),
    }
    Ok(())
}
