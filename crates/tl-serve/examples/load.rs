//! A load on a server: so many connections, each asking again as soon as it is answered, over all files of a folder, or over all
//! lines of a file of texts.
//!
//!     cargo run --release -p tl-serve --example load -- 127.0.0.1:8080 FOLDER|FILE [CONNECTIONS [ROUNDS]]
//!
//! Prints answers a second, times and statuses. `time tl predict RUN FOLDER` (or `tl predict RUN - < FILE`) computes the
//! same without a server.

#![expect(clippy::print_stdout, reason = "a program")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// All files below a folder.
fn files(folder: &Path, all: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files(&path, all)? } else { all.push(path) }
    }
    Ok(())
}

/// What is asked about: each file of a folder, or each line of a file.
fn bodies(place: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    if place.is_file() {
        let text = std::fs::read_to_string(place)?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        return Ok(lines.map(|line| line.as_bytes().to_vec()).collect());
    }
    let mut paths = Vec::new();
    files(place, &mut paths)?;
    paths.sort();
    paths.iter().map(std::fs::read).collect()
}

/// Asks once, on a connection that stays open; the status.
fn ask(stream: &mut BufReader<TcpStream>, body: &[u8]) -> Result<u16, Box<dyn Error + Send + Sync>> {
    let head = format!("POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
    let (mut line, mut status, mut length) = (String::new(), 0, 0);
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        let text = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = text.strip_prefix("http/1.1 ") {
            status = rest.split(' ').next().unwrap_or_default().parse()?;
        } else if let Some(rest) = text.strip_prefix("content-length:") {
            length = rest.trim().parse()?;
        } else if text.is_empty() {
            break;
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(status)
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, folder, rest @ ..] = &words[..] else {
        return Err("expected ADDRESS FOLDER|FILE [CONNECTIONS [ROUNDS]]".into());
    };
    let number = |at: usize, usual: usize| rest.get(at).map_or(Ok(usual), |text| text.parse::<usize>());
    let (connections, rounds) = (number(0, 32)?, number(1, 1)?);
    let bodies = bodies(Path::new(folder))?;
    let (next, all) = (AtomicUsize::new(0), Mutex::new((Vec::new(), BTreeMap::<u16, usize>::new())));
    let begun = Instant::now();
    let client = || -> Result<(), Box<dyn Error + Send + Sync>> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= bodies.len() * rounds {
                return Ok(());
            }
            let asked = Instant::now();
            let status = ask(&mut stream, &bodies[at % bodies.len()])?;
            if let Ok(mut all) = all.lock() {
                all.0.push(asked.elapsed().as_secs_f64());
                *all.1.entry(status).or_default() += 1;
            }
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..connections).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().unwrap_or_else(|_| Err("a client broke".into())))
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let (mut times, statuses) = all.into_inner().map_err(|_| "a client broke")?;
    times.sort_by(f64::total_cmp);
    let at = |part: f64| {
        times.get((times.len() as f64 * part) as usize).or(times.last()).copied().unwrap_or(0.0) * 1e3
    };
    println!(
        "{} answers in {seconds:.2} s: {:.0} a second; half within {:.0} ms, 99 % within {:.0} ms; by status {statuses:?}",
        times.len(),
        times.len() as f64 / seconds,
        at(0.5),
        at(0.99)
    );
    Ok(())
}
