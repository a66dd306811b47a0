//! Any bytes: nothing panics, and a frame or a line is done whole or leaves nothing. Bounded, so that it runs in every check;
//! PROPTEST_CASES makes it longer.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use liberator_native::checks::Check;
use liberator_native::copying::{Lines, lines_of};
use liberator_native::envelope::{Transaction, Written};
use liberator_native::frames::Kind;
use liberator_native::plan::Plan;
use liberator_native::transcoder::{Event, Place, Settings, Table, Transcoder};
use liberator_native::values::Converter;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

const OID: u32 = 7;

/// Converters of every kind, as Python describes them.
fn converters() -> Vec<Value> {
    let simple = [
        "verbatim",
        "text",
        "trimmed",
        "one_byte",
        "document",
        "document_line",
        "float",
        "numeric",
        "money",
        "bool",
        "integers",
        "point",
        "vector",
        "sparsevec",
        "date",
        "time",
        "timetz",
        "timestamp",
        "timestamptz",
        "uuid",
        "bytea",
        "geometry",
        "hstore",
    ];
    let mut all: Vec<Value> = simple.iter().map(|name| json!([name])).collect();
    all.push(json!(["quoted", "[01]*"]));
    for of in [json!(["text"]), json!(["verbatim"]), json!(["float"])] {
        all.push(json!(["range", of]));
        all.push(json!(["multirange", of]));
        for bounds in ["drop", "fail", "text"] {
            all.push(json!(["array", of, ",", bounds]));
        }
        all.push(json!([
            "composite",
            [["a", of], ["b", ["array", of, ",", "drop"]]]
        ]));
    }
    all
}

fn plan(envelope: Value, key: &[usize]) -> Plan {
    let names = ["id", "name", "at"];
    let kinds = [json!(["verbatim"]), json!(["text"]), json!(["timestamptz"])];
    let columns: Vec<Value> = names
        .iter()
        .zip(kinds)
        .map(|(name, kind)| json!({"name": format!("{name:?}"), "converter": kind}))
        .collect();
    let id: Vec<Value> = key
        .iter()
        .map(|index| json!([format!("{:?}", names[*index]), index]))
        .collect();
    let described = json!({
        "columns": columns,
        "key": key,
        "id": id,
        "identity": if key.is_empty() { vec![0, 1, 2] } else { key.to_vec() },
        "unique_key": !key.is_empty(),
        "checks": [[1, {"null": true, "rules": [["maxLength", 20]]}]],
        "before_key": [0, 1],
        "before_value": [0, 2],
        "envelope": envelope,
    });
    Plan::parse(described.to_string().as_bytes()).unwrap()
}

fn envelopes() -> impl Strategy<Value = Value> {
    let cloud = |structured: bool| {
        let types = json!({"c": "t.c", "u": "t.u", "d": "t.d", "r": "t.r"});
        json!({"kind": "cloudevents", "structured": structured, "types": types, "fixed": [["specversion", "1.0"]]})
    };
    prop_oneof![
        Just(json!({"kind": "debezium", "head": "h", "database": "d", "tail": "t"})),
        Just(json!({"kind": "flat", "named": [["__schema", "s"], ["__table", "t"]]})),
        any::<bool>().prop_map(cloud),
    ]
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        Just(b"1".to_vec()),
        Just(b"2026-01-01 12:00:00.5+00".to_vec()),
        Just("ü\"\\".as_bytes().to_vec()),
        vec(any::<u8>(), 0..8),
    ];
    let sent = |text: Vec<u8>| {
        [
            b"t",
            &u32::try_from(text.len()).unwrap().to_be_bytes()[..],
            &text,
        ]
        .concat()
    };
    prop_oneof![6 => text.prop_map(sent), 1 => Just(b"n".to_vec()), 1 => Just(b"u".to_vec())]
}

fn row() -> impl Strategy<Value = Vec<u8>> {
    let width = prop_oneof![9 => Just(3_usize), 1 => 0..5_usize];
    let fields = width.prop_flat_map(|width| vec(field(), width));
    fields.prop_map(|fields| {
        let width = u16::try_from(fields.len()).unwrap().to_be_bytes();
        [&width[..], &fields.concat()].concat()
    })
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let oid = OID.to_be_bytes();
    let old = prop_oneof![Just(b"K"), Just(b"O")];
    prop_oneof![
        any::<[u8; 20]>().prop_map(|fields| [b"B", &fields[..]].concat()),
        any::<[u8; 25]>().prop_map(|fields| [b"C", &fields[..]].concat()),
        row().prop_map(move |new| [b"I", &oid[..], b"N", &new].concat()),
        row().prop_map(move |new| [b"U", &oid[..], b"N", &new].concat()),
        (old.clone(), row(), row()).prop_map(move |(kind, old, new)| [
            b"U",
            &oid[..],
            kind,
            &old,
            b"N",
            &new
        ]
        .concat()),
        (old, row()).prop_map(move |(kind, old)| [b"D", &oid[..], kind, &old].concat()),
    ]
}

/// A frame, cut short or with bytes of chance in one of four.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let damage = prop_oneof![
        3 => Just((vec![], usize::MAX)),
        1 => (vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), 0..100_usize),
    ];
    (message(), damage).prop_map(|(message, (bytes, size))| {
        let mut frame = [&[b'w'; 25][..], &message].concat();
        for (place, byte) in bytes {
            let index = place.index(frame.len());
            frame[index] = byte;
        }
        frame.truncate(size);
        frame
    })
}

fn start() -> Place {
    Place {
        change: 0,
        message: 0,
        inside: false,
        begun: 0,
        committed_us: 0,
        transaction: Transaction {
            commit_lsn: 0,
            committed_us: 0,
            xid: None,
            last_commit: None,
            number: 0,
        },
    }
}

/// All that an event says is in the buffer, and nothing else is.
fn is_whole(events: &[Event], written: &Written) -> bool {
    let size = written.bytes.len();
    let headers = events
        .iter()
        .filter_map(|event| event.headers.clone())
        .map(|range| range.len())
        .sum::<usize>();
    let pieces = events.iter().flat_map(|event| {
        [
            event.key.clone(),
            event.value.clone(),
            Some(event.id.clone()),
        ]
    });
    headers == written.headers.len()
        && pieces
            .flatten()
            .all(|piece| piece.start <= piece.end && piece.end <= size)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_frames(
        frames in vec(frame(), 0..20),
        envelope in envelopes(),
        key in prop_oneof![Just(vec![]), Just(vec![0]), Just(vec![1, 0])],
        padded in any::<bool>(),
    ) {
        let plan = plan(envelope, &key);
        let settings = || Settings { id_place: b"system/slot", tombstones: true, now_us: 1 };
        let known: Vec<_> = frames
            .iter()
            .map_while(|frame| Some((frame.as_slice(), Kind::of(frame)?, 0)))
            .collect();
        let mut whole = Transcoder::new(settings(), start(), vec![Table::new(Some(&plan), padded)]);
        let done = whole.run(&known);
        prop_assert!(done <= known.len());
        prop_assert!(is_whole(&whole.events, &whole.written));
        // What stopped it has left no trace.
        let mut again = Transcoder::new(settings(), start(), vec![Table::new(Some(&plan), padded)]);
        prop_assert_eq!(again.run(&known[..done]), done);
        prop_assert_eq!(&again.written.bytes, &whole.written.bytes);
        prop_assert_eq!(again.place, whole.place);
    }

    #[test]
    fn any_lines(
        lines in vec(prop_oneof!["[a1\\\\N\t]{0,12}\n".prop_map(String::into_bytes), vec(any::<u8>(), 0..12)], 0..20),
        envelope in envelopes(),
        in_front in 0..2_usize,
    ) {
        let plan = plan(envelope, if in_front == 0 { &[0] } else { &[] });
        let data = lines.concat();
        let (mut written, mut events) = (Written::default(), Vec::new());
        let reading = Lines::new(&plan, b"s/", in_front, 7, 0, 0).unwrap();
        reading.run(lines_of(&data), &mut written, &mut events);
        prop_assert!(events.len() <= lines_of(&data).count());
        prop_assert!(is_whole(&events, &written));
    }

    #[test]
    fn any_text_of_any_type(text in prop_oneof![
        vec(any::<u8>(), 0..24).boxed(),
        "[-+0-9:. TZBCe,(){}\\[\\]\"\\\\ainfty=>/]{0,24}".prop_map(String::into_bytes).boxed(),
    ]) {
        for described in converters() {
            let converter = Converter::parse(&described);
            prop_assert!(converter.is_some(), "{described} is not known");
            let mut out = b"before".to_vec();
            let _ = converter.unwrap().convert(&text, &mut out);
            prop_assert!(out.starts_with(b"before"), "{described} changed what was there");
        }
    }

    #[test]
    fn any_json_and_any_check(
        json in prop_oneof![vec(any::<u8>(), 0..24).boxed(), "\"?[-0-9a-c.e+\\\\u]{0,24}\"?".prop_map(String::into_bytes).boxed()],
        limit in any::<i64>(),
    ) {
        let number = limit.to_string();
        for rule in [
            json!(["maxLength", limit.unsigned_abs()]),
            json!(["minLength", limit.unsigned_abs()]),
            json!(["multipleOf", limit.unsigned_abs().max(1).to_string()]),
            json!(["minimum", number]),
            json!(["exclusiveMaximum", number]),
            json!(["pattern", "^[a-z]+$"]),
            json!(["listed", ["\"a\"", "1"]]),
            json!(["kinds", "string", "integer"]),
        ] {
            let check = Check::parse(&json!({"null": false, "rules": [rule]}));
            prop_assert!(check.is_some(), "{rule} is not known");
            check.unwrap().passes(&json);
        }
    }
}
