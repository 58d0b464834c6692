//! Logs: appended in chunks, read from any offset, counted in UTF-16 units.

use job_queue::{Job, LogChunk, LogSlice, Records, RedisConfig};
use proto::{InstanceId, JobId};
use test_servers::Valkey;

use crate::stage::{RETENTION, job, nonce, start, workspace};

const FIRST: &str = "job started\n";
const PARTS: [&str; 6] = ["plain\n", "é😀", "😀😀", "a:b:c\n", "日本語 👩‍👩‍👧 ", "end"];

async fn running() -> (Valkey, Records, Job) {
    let valkey = Valkey::start().await;
    let records = Records::open(&RedisConfig { url: valkey.url(), retention: RETENTION.into() })
        .expect("the address is right");
    let job = job("bash");
    start(&records, &job, &InstanceId::random("worker"), &nonce()).await;
    (valkey, records, job)
}

fn units(text: &str) -> u64 {
    text.encode_utf16().count() as u64
}

/// What a client that counts as JavaScript does would have from an offset on; an offset
/// inside a character begins after it.
fn expected(whole: &str, offset: u64) -> LogSlice {
    let all: Vec<u16> = whole.encode_utf16().collect();
    let from = usize::try_from(offset).expect("a small offset").min(all.len());
    let inside = all.get(from).is_some_and(|unit| (0xDC00..0xE000).contains(unit));
    let from = if inside { from + 1 } else { from };
    let text = String::from_utf16(&all[from..]).expect("whole characters");
    LogSlice { text, end: offset.max(all.len() as u64) }
}

#[tokio::test]
async fn every_offset_of_a_log_in_many_chunks() {
    let (_valkey, records, job) = running().await;
    let (mut whole, mut end) = (FIRST.to_owned(), units(FIRST));
    for part in PARTS.iter().cycle().take(60) {
        let chunk = LogChunk { attempt: 1, at: Some(end), text: part };
        end = records.append_log(&job, &chunk).await.unwrap().unwrap();
        whole.push_str(part);
        assert_eq!(end, units(&whole));
    }
    for offset in 0..end + 3 {
        let slice = records.log_from(&workspace(), job.id, offset).await.unwrap();
        assert_eq!(slice, expected(&whole, offset), "from {offset}");
    }
    let record = records.get(&workspace(), job.id).await.unwrap().unwrap();
    assert_eq!(record.log_len, end);
    let tail = records.log_tail(&workspace(), job.id, record.log_len, 10).await.unwrap();
    assert!(whole.ends_with(&tail) && (9..=10).contains(&units(&tail)), "{tail}");
    assert_eq!(records.log_tail(&workspace(), job.id, record.log_len, u64::MAX).await.unwrap(), whole);
}

#[tokio::test]
async fn a_repeated_chunk_is_stored_once() {
    let (_valkey, records, job) = running().await;
    let chunk = LogChunk { attempt: 1, at: Some(units(FIRST)), text: "same\n" };
    for _ in 0..3 {
        assert_eq!(records.append_log(&job, &chunk).await.unwrap(), Some(units(FIRST) + 5));
    }
    let slice = records.log_from(&workspace(), job.id, 0).await.unwrap();
    assert_eq!(slice.text, "job started\nsame\n");
}

#[tokio::test]
async fn chunks_of_the_same_text_are_all_kept() {
    let (_valkey, records, job) = running().await;
    for _ in 0..3 {
        records.append_log(&job, &LogChunk { attempt: 1, at: None, text: "x" }).await.unwrap();
    }
    records.append_log(&job, &LogChunk { attempt: 1, at: None, text: "" }).await.unwrap();
    let slice = records.log_from(&workspace(), job.id, units(FIRST)).await.unwrap();
    assert_eq!(slice, LogSlice { text: "xxx".to_owned(), end: units(FIRST) + 3 });
}

#[tokio::test]
async fn a_large_chunk_and_no_log() {
    let (_valkey, records, job) = running().await;
    let large = "😀".repeat(500_000);
    let end = records.append_log(&job, &LogChunk { attempt: 1, at: None, text: &large }).await.unwrap();
    assert_eq!(end, Some(units(FIRST) + 1_000_000));
    let slice = records.log_from(&workspace(), job.id, units(FIRST) + 999_998).await.unwrap();
    assert_eq!(slice.text, "😀");
    let none = records.log_from(&workspace(), JobId::random(), 0).await.unwrap();
    assert_eq!(none, LogSlice::default());
}

#[tokio::test]
async fn a_second_attempt_goes_on_in_the_same_log() {
    let (_valkey, records, job) = running().await;
    start(&records, &job, &InstanceId::random("worker"), &nonce()).await;
    let slice = records.log_from(&workspace(), job.id, 0).await.unwrap();
    assert_eq!(slice.text, FIRST.repeat(2));
    let record = records.get(&workspace(), job.id).await.unwrap().unwrap();
    assert_eq!(record.log_len, slice.end);
}
