//! Server and client: routes, errors, and who gets the socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use privatelink_userspace::api::{
    ConnectionQuery, FlowQuery, FlowRow, FlowSort, FlowState, Interval, ServiceQuery,
};
use privatelink_userspace::control::{
    Client, ClientError, Gateway, GatewayError, Question, Server, ServerError,
};
use privatelink_userspace::model::Protocol;

use crate::fake::{Fake, Running, flow};

/// Status and body of an answer, as a client that knows nothing of ours sees them.
fn raw(socket: &Path, method: &str, target: &str) -> (u16, String) {
    raw_with(socket, method, target, "")
}

/// As [`raw`], with a body.
pub(crate) fn raw_with(socket: &Path, method: &str, target: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    // An answer to a body that is too long may come before all of it is sent.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let kind = if target == "/metrics" { "text/plain" } else { "application/json" };
    assert!(head.contains(&format!("content-type: {kind}")), "{head}");
    (status, body.to_owned())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

async fn bind(path: &Path) -> Result<Server, ServerError> {
    Server::bind(path, None, Arc::new(Fake::full())).await
}

#[tokio::test]
async fn every_route_answers_the_gateways_rows() {
    let running = Running::start(Fake::full());
    let client = Client::new(&running.socket);
    let fake = Fake::full();
    assert_eq!(client.ask(&Question::status()).await.unwrap(), fake.status().unwrap());
    assert_eq!(
        client.ask(&Question::services(&ServiceQuery::default())).await.unwrap(),
        fake.services
    );
    assert_eq!(client.ask(&Question::endpoints()).await.unwrap(), fake.endpoints);
    assert_eq!(
        client.ask(&Question::connections(&ConnectionQuery::default())).await.unwrap(),
        fake.connections
    );
    assert_eq!(client.ask(&Question::targets()).await.unwrap(), fake.targets);
    assert_eq!(client.ask(&Question::flows(&FlowQuery::default())).await.unwrap(), fake.flows);
    assert_eq!(client.ask(&Question::drops()).await.unwrap(), fake.drops);
    assert_eq!(client.ask(&Question::plan()).await.unwrap(), fake.plan);
}

#[tokio::test]
async fn every_field_of_the_flow_query_arrives() {
    let (asked, arrived) = channel();
    let on_flows = Box::new(move |query: &FlowQuery| asked.send(query.clone()).unwrap());
    let running = Running::start(Fake { on_flows: Some(on_flows), ..Fake::default() });
    let client = Client::new(&running.socket);
    let full = FlowQuery {
        endpoint: Some("vpce-1".into()),
        service: Some("a&b=c d+%/ü".into()),
        vpc: Some(String::new()),
        protocol: Some(Protocol::Udp),
        state: Some(FlowState::FinWait),
        client: Some("10.0.0.0/8".parse().unwrap()),
        target: Some("10.0.1.10:8080".parse().unwrap()),
        min_bytes: Some(u64::MAX),
        rate_ms: Some(Interval::try_from(100).unwrap()),
        sort: Some(FlowSort::Rate),
        reverse: true,
        limit: Some(usize::MAX),
    };
    for query in [FlowQuery::default(), full] {
        client.ask(&Question::flows(&query)).await.unwrap();
        assert_eq!(arrived.recv().unwrap(), query);
    }
}

#[test]
fn mistakes_in_a_request_are_named() {
    let running = Running::start(Fake::full());
    let socket = &running.socket;
    for (method, target, status, says) in [
        (
            "GET",
            "/",
            404,
            "no such route: /; the routes are /metrics, /v1/capture, /v1/connections, ",
        ),
        ("GET", "/v2/status", 404, "no such route: /v2/status"),
        ("GET", "/v1/status/", 404, "no such route"),
        ("POST", "/v1/status", 405, "POST is not possible on /v1/status: use GET"),
        ("DELETE", "/v1/flows", 405, "use GET"),
        ("GET", "/v1/reload", 405, "GET is not possible on /v1/reload: use POST"),
        ("GET", "/v1/services/a/accept", 405, "use POST"),
        ("POST", "/v1/services/a/b/accept", 404, "no such route"),
        ("POST", "/v1/services/a/delete", 404, "no such route"),
        ("PUT", "/v1/endpoints/a", 405, "use GET or PATCH or DELETE"),
        ("DELETE", "/v1/endpoints", 405, "use GET or POST"),
        ("DELETE", "/v1/endpoints/a?cascade=perhaps", 400, "cascade"),
        ("GET", "/v1/flows?limit=many", 400, "limit"),
        ("GET", "/v1/flows?limit=-1", 400, "limit"),
        ("GET", "/v1/flows?sort=size", 400, "size"),
        ("GET", "/v1/flows?colour=red", 400, "colour"),
        (
            "GET",
            "/v1/flows?state=half_open",
            400,
            "state: unknown variant `half_open`, expected one of `syn_sent`, `syn_received`, `established`, `fin_wait`, `time_wait`, `closed`",
        ),
        (
            "GET",
            "/v1/flows?client=10.0.0.0/33",
            400,
            "client: neither an address nor a CIDR: write e.g. 10.0.2.20, 10.0.0.0/16 or fd00::/64",
        ),
        (
            "GET",
            "/v1/flows?target=web",
            400,
            "target: not an address with or without a port: write e.g. 10.0.1.10:8080 or [fd00::1]:8080",
        ),
        ("GET", "/v1/flows?min_bytes=5k", 400, "min_bytes: invalid digit"),
        ("GET", "/v1/flows?rate_ms=99", 400, "rate_ms: not from 100 to 60000 milliseconds"),
        ("GET", "/v1/flows?rate_ms=1s", 400, "rate_ms: invalid digit"),
        ("GET", "/v1/flows?reverse=yes", 400, "reverse"),
        ("GET", "/v1/services?for=me", 400, "for"),
        ("GET", "/v1/connections?service=a&service=b", 400, "duplicate field"),
    ] {
        let (found, body) = raw(socket, method, target);
        assert_eq!(found, status, "{method} {target}: {body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let error = body["error"].as_str().unwrap();
        assert!(error.contains(says) && !error.contains('\n'), "{method} {target}: {error}");
        let code = match status {
            404 => "UnknownRoute",
            405 => "MethodNotAllowed",
            _ => "InvalidParameter",
        };
        assert_eq!((&body["code"], body.as_object().unwrap().len()), (&code.into(), 2));
    }
    let (status, body) = raw(socket, "GET", "/v1/flows?limit=0");
    assert_eq!((status, body.as_str()), (200, "[]\n"));
}

#[tokio::test]
async fn the_gateways_errors_reach_the_client() {
    for (fault, status, text) in [
        (GatewayError::Unavailable("it starts: try again".into()), 503, "it starts: try again"),
        (GatewayError::Failed("no map: restart".into()), 500, "no map: restart"),
    ] {
        let running = Running::start(Fake { fault: Some(fault), ..Fake::full() });
        let client = Client::new(&running.socket);
        let rates = FlowQuery { sort: Some(FlowSort::Rate), ..FlowQuery::default() };
        let drops = client.ask(&Question::drops()).await.unwrap_err();
        let flows = client.ask(&Question::flows(&rates)).await.unwrap_err();
        for error in [drops, flows] {
            assert_eq!(error.to_string(), text);
            let ClientError::Refused { status: found, .. } = error else { panic!("{error:?}") };
            assert_eq!(found, status);
        }
    }
}

#[tokio::test]
async fn a_panic_costs_one_answer_only() {
    let on_drops = Box::new(|_: &()| panic!("told to panic"));
    let running = Running::start(Fake { on_drops: Some(on_drops), ..Fake::full() });
    let client = Client::new(&running.socket);
    let error = client.ask(&Question::drops()).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 500, .. }), "{error:?}");
    assert_eq!(
        client.ask(&Question::services(&ServiceQuery::default())).await.unwrap(),
        Fake::full().services
    );
}

/// A hundred thousand: more than the socket and the pieces under way hold.
fn many_flows() -> Vec<FlowRow<'static>> {
    let client = |n| format!("10.0.{}.1:{}", n / 1000, n % 1000);
    (0..100_000).map(|n| flow(&client(n), "established", n, n)).collect()
}

#[tokio::test]
async fn a_hundred_thousand_flows_arrive() {
    let running = Running::start(Fake { flows: many_flows(), ..Fake::default() });
    let question = Question::flows(&FlowQuery::default());
    let listed = Client::new(&running.socket).ask(&question).await.unwrap();
    assert!(listed == many_flows(), "{} rows", listed.len());
}

#[tokio::test]
async fn a_listing_that_fails_half_way_breaks_off() {
    let on_flow = Box::new(|number: &usize| assert!(*number < 50_000, "told to panic"));
    let running =
        Running::start(Fake { flows: many_flows(), on_flow: Some(on_flow), ..Fake::full() });
    let client = Client::new(&running.socket);
    let error = client.ask(&Question::flows(&FlowQuery::default())).await.unwrap_err();
    assert!(matches!(error, ClientError::Http { .. }), "{error:?}");
    assert_eq!(
        client.ask(&Question::services(&ServiceQuery::default())).await.unwrap(),
        Fake::full().services
    );
}

#[tokio::test]
async fn flows_are_read_as_fast_as_the_client_reads() {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let on_flow = Box::new(move |number: &usize| count.store(*number, Ordering::Relaxed));
    let running =
        Running::start(Fake { flows: many_flows(), on_flow: Some(on_flow), ..Fake::full() });
    let client = Client::new(&running.socket);
    let question = Question::flows(&FlowQuery::default());
    let (mut gone, mut stays) =
        (client.open(&question).await.unwrap(), client.open(&question).await.unwrap());
    for answer in [&mut gone, &mut stays] {
        assert!(answer.next().await.unwrap().is_some());
    }
    // Another's answer comes all the same.
    assert_eq!(client.ask(&Question::drops()).await.unwrap(), Fake::full().drops);
    drop(gone);
    // The server's end waits for all its threads: neither reader keeps one.
    drop(running);
    drop(stays);
    assert!(taken.load(Ordering::Relaxed) < 50_000, "{taken:?}");
}

#[tokio::test]
async fn a_question_that_takes_long_holds_up_no_other() {
    // The flows are answered only once the drops, asked for later, are.
    let (drops_asked, wait) = channel();
    let wait = Mutex::new(wait);
    let running = Running::start(Fake {
        on_flows: Some(Box::new(move |_| {
            wait.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
        })),
        on_drops: Some(Box::new(move |_| drops_asked.send(()).unwrap())),
        ..Fake::full()
    });
    let client = Client::new(&running.socket);
    let query = FlowQuery::default();
    let (all, dropped) = (Question::flows(&query), Question::drops());
    // Polled in this order.
    let (flows, drops) = tokio::join!(client.ask(&all), client.ask(&dropped));
    assert_eq!((flows.unwrap(), drops.unwrap()), (Fake::full().flows, Fake::full().drops));
}

#[tokio::test]
async fn the_socket_has_mode_0660_in_a_directory_of_mode_0755() {
    let directory = tempfile::tempdir().unwrap();
    let parent = directory.path().join("run/privatelink");
    let path = parent.join("control.sock");
    let server = bind(&path).await.unwrap();
    assert_eq!(mode(&path), 0o660);
    assert_eq!(mode(&parent), 0o755);
    assert_eq!(names(&parent), ["control.sock"], "nothing else is left");
    drop(server);
    assert_eq!(names(&parent), [""; 0]);
}

#[tokio::test]
async fn the_socket_may_have_a_group() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give a file to any group");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let group = Some(nix::unistd::Gid::from_raw(4242));
    let _server = Server::bind(&path, group, Arc::new(Fake::full())).await.unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid(), mode(&path)), (0, 4242, 0o660));
}

#[tokio::test]
async fn a_directory_that_exists_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let _server = bind(&directory.path().join("s")).await.unwrap();
    assert_eq!(mode(directory.path()), 0o750);
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = bind(&path).await.unwrap();
    let asking = async {
        assert_eq!(Client::new(&path).ask(&Question::drops()).await.unwrap(), Fake::full().drops);
    };
    server.serve(asking).await.unwrap();
    assert!(!path.exists(), "removed on shutdown");
}

#[tokio::test]
async fn a_socket_in_use_is_left_alone() {
    let running = Running::start(Fake::full());
    let error = bind(&running.socket).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "another privatelink daemon (pid {}) serves this socket; stop it or choose another --socket",
            std::process::id()
        )
    );
    assert_eq!(
        Client::new(&running.socket).ask(&Question::drops()).await.unwrap(),
        Fake::full().drops
    );
}

#[test]
fn of_two_that_start_at_once_one_gets_the_socket() {
    /// Keeps what it got until the other has tried as well.
    #[tokio::main(flavor = "current_thread")]
    async fn start(path: &Path, together: &Barrier) -> Result<(), ServerError> {
        together.wait();
        let server = bind(path).await;
        together.wait();
        server.map(drop)
    }

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let together = Barrier::new(2);
    for _ in 0..50 {
        drop(UnixListener::bind(&path).unwrap());
        let (a, b) = std::thread::scope(|scope| {
            let other = scope.spawn(|| start(&path, &together));
            (start(&path, &together), other.join().unwrap())
        });
        match (a, b) {
            (Ok(()), Err(ServerError::InUse { .. })) | (Err(ServerError::InUse { .. }), Ok(())) => {
            }
            other => panic!("{other:?}"),
        }
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes");
    fs::write(&path, "keep").unwrap();
    let error = bind(&path).await.err().unwrap();
    let expected =
        format!("{} is not a socket: remove it or choose another --socket", path.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(fs::read_to_string(&path).unwrap(), "keep");
}

#[tokio::test]
async fn a_path_beyond_the_kernels_limit_says_by_how_much() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x".repeat(120));
    let error = bind(&path).await.err().unwrap();
    assert!(error.to_string().ends_with("bytes too long: choose a shorter --socket"), "{error}");
    let ServerError::TooLong { excess, .. } = error else { panic!("{error:?}") };
    assert_eq!(excess, path.as_os_str().len() - 107);
    assert_eq!(names(directory.path()), [""; 0]);
}

#[tokio::test]
async fn the_successors_socket_survives_our_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let first = bind(&path).await.unwrap();
    fs::remove_file(&path).unwrap();
    let second = bind(&path).await.unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_keep_the_daemon_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let server = bind(&path).await.unwrap();
    let silent = UnixStream::connect(&path).unwrap();
    let mut half = UnixStream::connect(&path).unwrap();
    half.write_all(b"GET /v1/drops HTTP/1.1\r\nHo").unwrap();
    let began = Instant::now();
    let shutdown = async {
        // Accepts are in order: once this is answered, both of the above are connections.
        Client::new(&path).ask(&Question::drops()).await.unwrap();
    };
    server.serve(shutdown).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop((silent, half));
}

#[test]
fn rates_that_are_being_measured_do_not_keep_the_daemon_up() {
    let (asked, is_asked) = channel();
    let on_readings = Box::new(move |_: &FlowQuery| asked.send(()).unwrap());
    let running = Running::start(Fake { on_readings: Some(on_readings), ..Fake::full() });
    let mut client = UnixStream::connect(&running.socket).unwrap();
    client.write_all(b"GET /v1/flows?rate_ms=60000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    is_asked.recv().unwrap();
    let began = Instant::now();
    drop(running);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "there is no answer");
}

#[tokio::test]
async fn without_a_daemon_the_client_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let stale = directory.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    for path in [directory.path().join("missing"), stale] {
        let error = Client::new(&path).ask(&Question::status()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "no privatelink daemon answers at {}: start it with `privatelink run --config FILE`, or name its socket with --socket",
                path.display()
            )
        );
    }
}

#[tokio::test]
async fn what_is_no_daemon_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    for (answer, expected) in [
        ("", "broke off"),
        ("220 mail ready\r\n", "broke off"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[", "broke off"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "of another version"),
        ("HTTP/1.1 502 Bad\r\ncontent-length: 4\r\n\r\noops", "of another version"),
    ] {
        let listener = listener.try_clone().unwrap();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let error = Client::new(&path).ask(&Question::drops()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{answer:?}: {error}");
        peer.join().unwrap();
    }
}
