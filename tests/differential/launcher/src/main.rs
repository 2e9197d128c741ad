// Unpacks as Zapuskalka's launcher does. Reads lines `mode TAB archive TAB folder`, answers each.

use flate2::read::{GzDecoder, MultiGzDecoder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic;
use std::path::Path;
use tar::Archive;

const MOST: u64 = 64 << 20;

fn tar<R: Read>(reader: R, folder: &Path) -> io::Result<()> {
    Archive::new(reader.take(MOST)).unpack(folder)
}

fn pour<R: Read>(reader: R, folder: &Path) -> io::Result<()> {
    let mut out = File::create(folder.join("content"))?;
    io::copy(&mut reader.take(MOST), &mut out).map(|_| ())
}

fn run(line: &str) -> io::Result<()> {
    let words: Vec<&str> = line.trim_end_matches('\n').split('\t').collect();
    let file = BufReader::new(File::open(words[1])?);
    let folder = Path::new(words[2]);
    match words[0] {
        "launcher" => tar(GzDecoder::new(file), folder),
        "tar" => tar(file, folder),
        "gz" => pour(GzDecoder::new(file), folder),
        _ => pour(MultiGzDecoder::new(file), folder),
    }
}

fn main() {
    panic::set_hook(Box::new(|_| {}));
    for line in io::stdin().lock().lines() {
        let line = line.expect("a line");
        let answer = match panic::catch_unwind(|| run(&line)) {
            Ok(Ok(())) => "ok".to_string(),
            Ok(Err(error)) => error.to_string().replace('\n', " "),
            Err(_) => "panic".to_string(),
        };
        println!("{}", answer);
        io::stdout().flush().expect("a reader");
    }
}
