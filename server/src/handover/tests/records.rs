use super::world::{epoch, target};
use crate::handover::{Epoch, Handover, Record, RecordError};

fn example() -> Handover {
    Handover {
        uid: "u&=%/é 1".into(),
        id: "rolling update/7".into(),
        epoch: epoch("3.2"),
        from: target("a"),
        to: target("bb"),
        data_epoch: epoch("3.1"),
        offset: u64::MAX,
        configs: "2:a,b".into(),
        session: "db=0&resp=2".into(),
        clock_ms: 1_700_000_000_123,
    }
}

#[test]
fn a_handover_survives_its_own_text_and_is_one_word() {
    let text = Record::Handover(Box::new(example())).argument();
    assert!(Record::is_record(text.as_bytes()));
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
    assert_eq!(Record::parse(text.as_bytes()), Ok(Record::Handover(Box::new(example()))));
}

#[test]
fn unknown_keys_are_ignored_and_another_version_is_refused() {
    let blob = example().encode();
    assert_eq!(Handover::decode(&format!("{blob}&later=thing")), Ok(example()));
    let before = blob.replacen("&clock=1700000000123", "", 1);
    assert_eq!(Handover::decode(&before), Ok(Handover { clock_ms: 0, ..example() }));
    let other = blob.replacen("v=1", "v=2", 1);
    assert_eq!(Handover::decode(&other), Err(RecordError::Version));
}

#[test]
fn damaged_records_name_what_is_wrong() {
    let blob = example().encode();
    for (damaged, error) in [
        (blob.replacen("&epoch=3.2", "&epoch=3", 1), RecordError::Field("epoch")),
        (blob.replacen("&offset=18446744073709551615", "", 1), RecordError::Field("offset")),
        (blob.replacen("&to-port=6379", "&to-port=65536", 1), RecordError::Field("to-port")),
        (blob.replacen("%20", "%+2", 1), RecordError::Encoding),
        (blob.replacen("&clock=17", "&clock=x", 1), RecordError::Field("clock")),
        (format!("{blob}%2"), RecordError::Encoding),
        (blob.replacen("uid=u%26", "uid=%ff%26", 1), RecordError::Encoding),
    ] {
        assert_eq!(Handover::decode(&damaged), Err(error), "{damaged}");
    }
    assert_eq!(Record::parse(b"redisha:start:1.0:"), Err(RecordError::Field("member")));
    assert_eq!(Record::parse(b"redisha:start:1:a"), Err(RecordError::Field("epoch")));
    assert_eq!(Record::parse(b"redisha:other:1"), Err(RecordError::Kind));
}

#[test]
fn epochs_order_by_term_then_hop_and_refuse_other_spellings() {
    assert!(epoch("1.9") < epoch("2.0") && epoch("2.0") < epoch("2.1"));
    for bad in ["", "1", "1.", ".1", "+1.0", "1.0.0", "1.-1", "1. 0"] {
        assert!(bad.parse::<Epoch>().is_err(), "{bad}");
    }
}
