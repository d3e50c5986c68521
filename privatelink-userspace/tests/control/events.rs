//! The stream of events: by HTTP alone, by the client, and as the command line prints it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use insta::assert_snapshot;
use privatelink_userspace::api::{
    ConnectionChange, Event, EventKind, EventKinds, EventQuery, Fill, FillChange, HealthChange,
    Refused, What,
};
use privatelink_userspace::control::{Client, EventStream, Question};
use privatelink_userspace::events::Events;
use privatelink_userspace::model::EndpointState;

use crate::cli::{on, printed, text};
use crate::fake::{Fake, Running};
use crate::server::raw_with;

/// One event of each kind, those of a connection first.
pub(crate) fn samples() -> Vec<What> {
    use EndpointState::{Available, Deleting, Expired, Failed, PendingAcceptance, Rejected};
    let change = |before, state, reason: &str| ConnectionChange {
        endpoint: "vpce-0a11111111111111a".into(),
        service: "vpce-svc-0e123abc123198abc".into(),
        principal: "arn:aws:iam::222222222222:root".into(),
        before,
        state,
        reason: reason.into(),
        request_message: String::new(),
    };
    let asks = change(None, PendingAcceptance, "waits for the provider to accept it");
    let refused = |reason: &str, description: &str| Refused {
        interface: "pl-consumer-a".into(),
        vpc: "vpc-consumer-a".into(),
        reason: reason.into(),
        packets: 42,
        description: description.into(),
    };
    vec![
        What::Connect(ConnectionChange { request_message: "for our invoices".into(), ..asks }),
        What::Accept(change(Some(PendingAcceptance), Available, "contract 7")),
        What::Reject(change(Some(Available), Rejected, "unpaid")),
        What::Delete(change(Some(Rejected), Deleting, "it is not declared any more")),
        What::Expire(change(Some(PendingAcceptance), Expired, "nobody has answered")),
        What::Fail(change(None, Failed, "the service does not admit account 222222222222")),
        What::TargetHealth(HealthChange {
            target_group: "web".into(),
            target: "10.0.1.10:8080".into(),
            before: "healthy".into(),
            state: "unhealthy".into(),
            reason: "Target.Timeout".into(),
            description: "no answer to the SYN within 2 s".into(),
        }),
        What::TargetHealth(HealthChange {
            target_group: "web".into(),
            target: "10.0.1.10:8080".into(),
            before: "unhealthy".into(),
            state: "healthy".into(),
            reason: String::new(),
            description: String::new(),
        }),
        What::LeaseExhausted(refused("LeaseExhausted", "no lease is free; add an address")),
        What::FlowsRefused(refused("FlowTableFull", "the flow table is full; raise its capacity")),
        What::TablePressure(FillChange {
            before: Fill::Normal,
            state: Fill::High,
            flows_held: 820,
            flows_max: 1024,
        }),
        What::TablePressure(FillChange {
            before: Fill::High,
            state: Fill::Normal,
            flows_held: 700,
            flows_max: 1024,
        }),
    ]
}

/// A gateway where all of them have happened.
fn eventful() -> Running {
    let fake = Fake::full();
    samples().into_iter().for_each(|what| fake.events.tell(what));
    Running::start(fake)
}

/// Asks for a stream, and reads nothing of it.
fn asked(socket: &Path, target: &str, header: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The kinds and ids of the events of a stream that ends.
fn told(socket: &Path, query: &str, header: &str) -> Vec<(String, u64)> {
    let mut answer = String::new();
    let target = format!("/v1/events?follow=false{query}");
    asked(socket, &target, header).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\ncontent-type: text/event-stream\r\n"), "{answer}");
    let of = |field: &str| {
        let values = answer.lines().filter_map(|line| line.strip_prefix(field));
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let data: Vec<Event> =
        of("data: ").iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let (ids, kinds) = (of("id: "), of("event: "));
    // What stands around the object is what is in it.
    assert_eq!(ids, data.iter().map(|event| event.id.to_string()).collect::<Vec<_>>());
    assert_eq!(kinds, data.iter().map(|event| event.what.name()).collect::<Vec<_>>());
    kinds.into_iter().zip(data).map(|(kind, event)| (kind, event.id)).collect()
}

#[test]
fn a_stream_begins_and_goes_on_where_it_is_told_to() {
    let running = eventful();
    let socket = &running.socket;
    let all = told(socket, "", "");
    assert_eq!(
        all.iter().map(|(kind, _)| kind.clone()).collect::<Vec<_>>(),
        samples().iter().map(|what| what.name().to_owned()).collect::<Vec<_>>()
    );
    let first = all[0].1;
    assert!(all.iter().map(|(_, id)| *id).eq(first..first + all.len() as u64), "{all:?}");
    let after = format!("&after={}", first + 4);
    assert_eq!(told(socket, &after, ""), all[5..]);
    // The header of a client that comes again tells more than what it asked at first.
    let header = format!("Last-Event-ID: {}", first + 9);
    assert_eq!(told(socket, "", &header), all[10..]);
    assert_eq!(told(socket, &after, &header), all[10..]);
    let of_kinds = told(socket, &format!("{after}&kind=accept,target_health,fail"), "");
    assert_eq!(of_kinds, all[5..8]);
}

#[test]
fn mistakes_are_named() {
    let running = eventful();
    for (query, says) in [
        ("kind=accepted", "accepted: no kind of events; the kinds are connect, accept, "),
        ("kind=", "no kind of events"),
        ("after=-1", "after"),
        ("follow=perhaps", "follow"),
        ("colour=red", "colour"),
    ] {
        let (status, body) = raw_with(&running.socket, "GET", &format!("/v1/events?{query}"), "");
        assert!(status == 400 && body.contains(says), "{query}: {status} {body}");
        assert!(body.contains("\"InvalidParameter\""), "{query}: {body}");
    }
    let mut answer = String::new();
    let header = "Last-Event-ID: the last one";
    asked(&running.socket, "/v1/events", header).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("send one"), "{answer}");
}

#[test]
fn who_does_not_read_holds_up_nobody_and_is_told_what_is_lost() {
    const ALL: u64 = 100_000;
    let fake = Fake { events: Arc::new(Events::keeping(100)), ..Fake::full() };
    let running = Running::start(fake);
    let slow = asked(&running.socket, "/v1/events", "");
    let mut slow = BufReader::new(slow);
    // The head arrives: from here on the stream follows.
    slow.read_line(&mut String::new()).unwrap();
    for what in samples().into_iter().cycle().take(ALL as usize) {
        running.events.tell(what);
    }
    let events = slow.lines().filter_map(|line| {
        let event = line.unwrap().strip_prefix("data: ")?.to_owned();
        Some(serde_json::from_str::<Event>(&event).unwrap())
    });
    let (mut read, mut lost, mut last) = (0, 0, None);
    for event in events {
        let passed = match event.what {
            What::Lost { events } => {
                lost += events;
                events
            }
            _ => {
                read += 1;
                1
            }
        };
        assert!(last.is_none_or(|last| event.id == last + passed), "{event:?} after {last:?}");
        last = Some(event.id);
        if read + lost == ALL {
            break;
        }
    }
    assert!(read >= 100 && lost > 0, "{read} read, {lost} lost");
}

#[tokio::test]
async fn a_stream_ends_with_the_daemon() {
    let running = eventful();
    let query =
        EventQuery { kind: Some(EventKinds(vec![EventKind::Accept])), ..EventQuery::default() };
    let client = Client::new(&running.socket);
    let mut stream = EventStream::new(client.open(&Question::events(&query)).await.unwrap());
    let accept = stream.next().await.unwrap().unwrap();
    assert!(accept.contains("\"contract 7\""), "{accept}");
    let events = running.events.clone();
    let (stopped, next) =
        tokio::join!(tokio::task::spawn_blocking(|| drop(running)), stream.next());
    stopped.unwrap();
    // The end of the answer, and not of the connection within it.
    assert_eq!(next.unwrap(), None);
    drop(events);
}

#[test]
fn events_for_people_and_for_programs() {
    let running = eventful();
    let lines = printed(&running, &["events"]);
    let (times, lines): (Vec<_>, Vec<_>) =
        lines.lines().map(|line| line.split_at("2026-11-21T19:00:00.123Z".len())).unzip();
    assert!(times.iter().all(|time| time.contains('T') && time.ends_with('Z')), "{times:?}");
    assert_snapshot!(lines.join("\n"), @r"
      connect          endpoint vpce-0a11111111111111a of arn:aws:iam::222222222222:root asks for vpce-svc-0e123abc123198abc: waits for the provider to accept it
      accept           endpoint vpce-0a11111111111111a is available: contract 7
      reject           endpoint vpce-0a11111111111111a is rejected: unpaid
      delete           endpoint vpce-0a11111111111111a is deleting: it is not declared any more
      expire           endpoint vpce-0a11111111111111a is expired: nobody has answered
      fail             endpoint vpce-0a11111111111111a has failed: the service does not admit account 222222222222
      target_health    target 10.0.1.10:8080 of web is unhealthy: no answer to the SYN within 2 s
      target_health    target 10.0.1.10:8080 of web is healthy
      lease_exhausted  interface pl-consumer-a: 42 packets dropped as LeaseExhausted: no lease is free; add an address
      flows_refused    interface pl-consumer-a: 42 packets dropped as FlowTableFull: the flow table is full; raise its capacity
      table_pressure   820 of 1024 places in the flow table are taken: give it more `capacity` under [flow_table], or `ipv6_flow_capacity` for flows with IPv6
      table_pressure   700 of 1024 places in the flow table are taken
    ");
    let some = ["events", "-o", "json", "--kind", "reject", "--kind", "expire"];
    let rejected = printed(&running, &some);
    let events: Vec<Event> =
        rejected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        events.iter().map(|event| event.what.name()).collect::<Vec<_>>(),
        ["reject", "expire"]
    );
    let after = events[0].id.to_string();
    let later = printed(&running, &[&some[..], &["--after", &after]].concat());
    assert_eq!(later.lines().count(), 1);
}

#[test]
fn the_command_line_follows_until_the_daemon_stops() {
    let running = Running::start(Fake::full());
    let mut command = on(&running.socket, &["events", "--follow", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for what in samples().into_iter().take(3) {
        running.events.tell(what.clone());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap().what, what);
    }
    drop(running);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn an_event_of_another_version_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).unwrap() > 0);
        let event = "event: eclipse\ndata: {\"id\":1,\"time\":\"t\",\"kind\":\"eclipse\"}\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
        let length = event.len();
        write!(stream, "{head}content-length: {length}\r\n\r\n{event}").unwrap();
    });
    let output = on(&socket, &["events"]).output().unwrap();
    daemon.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "privatelink: an event of the daemon makes no sense: is it of another version?\n"
    );
}
