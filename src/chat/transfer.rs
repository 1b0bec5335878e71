//! Messages from a store to a file of JSON lines, and back.

use std::{
    error::Error,
    fmt,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use hinotori::BoxError;

use super::{
    history::Limit,
    message::Imported,
    message_log::{MessageLog, Reader},
};

/// What is read at a time.
const PAGE: Limit = Limit { messages: 1_000, bytes: 8 << 20 };

/// Why a line was not imported.
#[derive(Debug)]
pub(crate) struct InvalidLine {
    number: usize,
    why: BoxError,
}

impl fmt::Display for InvalidLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.why)
    }
}

impl Error for InvalidLine {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.why)
    }
}

/// Writes all messages, each a line of JSON as clients get it, the oldest first. Returns how many. `-` is standard output. A
/// file is there when all of it is written, and not before.
///
/// # Errors
/// If the store cannot be read, a message is damaged, or the file cannot be written.
pub(crate) async fn export(reader: &dyn Reader, file: &Path) -> Result<u64, BoxError> {
    if file == Path::new("-") {
        return write(reader, file, io::stdout()).await;
    }
    // a device or a pipe is not replaced by a file
    if file.exists() && !file.is_file() {
        return write(reader, file, File::create(file).map_err(|error| named(file, &error))?).await;
    }
    let mut whole = file.as_os_str().to_owned();
    whole.push(".part");
    let whole = Path::new(&whole);
    let out = File::create(whole).map_err(|error| named(whole, &error))?;
    let written = match write(reader, whole, &out).await {
        Ok(count) => out
            .sync_all()
            .and_then(|()| fs::rename(whole, file))
            .map(|()| count)
            .map_err(|error| named(file, &error).into()),
        Err(error) => Err(error),
    };
    if written.is_err() {
        // what is left of it is no use; the first error is the one to tell
        let _ = fs::remove_file(whole);
    }
    written
}

async fn write(reader: &dyn Reader, file: &Path, out: impl Write) -> Result<u64, BoxError> {
    let (mut out, mut last, mut count) = (BufWriter::new(out), 0, 0);
    loop {
        let page = reader.after(last, u64::MAX >> 1, PAGE).await?;
        if let Some(id) = page.damaged.first() {
            return Err(
                format!("message {id} is damaged: delete it, or write it anew, and export again").into()
            );
        }
        let Some(newest) = page.posted.last() else { break };
        last = newest.id();
        count += page.posted.len() as u64;
        for message in &page.posted {
            let line = [&message.json()[..], b"\n"].concat();
            out.write_all(&line).map_err(|error| named(file, &error))?;
        }
        // what is posted meanwhile is not waited for
        if last >= page.last_id {
            break;
        }
    }
    out.flush().map_err(|error| named(file, &error))?;
    Ok(count)
}

/// Reads what [`export`] wrote into an empty store: all of it, or nothing. Returns how many. `-` is standard input.
///
/// # Errors
/// If the file cannot be read, a line is no message or not newer than the line before, or the store is not empty or cannot be
/// written.
pub(crate) fn import(log: &mut dyn MessageLog, file: &Path) -> Result<u64, BoxError> {
    let input: Box<dyn BufRead> = match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(file).map_err(|error| named(file, &error))?)),
    };
    let mut last = 0;
    let mut messages = input.lines().zip(1..).map(|(line, number)| {
        let message = line.map_err(Into::into).and_then(|line| Imported::parse(&line));
        let message = message.and_then(|message| match message.id() {
            id if id > last => {
                last = id;
                Ok(message)
            }
            id => Err(format!("message {id} is not newer than the one before").into()),
        });
        message.map_err(|why| InvalidLine { number, why }.into())
    });
    log.import(&mut messages)
}

fn named(file: &Path, error: &io::Error) -> String {
    format!("{}: {error}", file.display())
}

#[cfg(test)]
mod tests {
    use super::{
        super::message_log::{
            Keep, Kind, Memory, Sharing, Synchronous,
            suite::{self, Folder, LIMIT, Lobby},
        },
        *,
    };

    fn log(folder: &Folder) -> Box<dyn MessageLog> {
        Kind::Sqlite(folder.file(), Synchronous::Full)
            .log(Sharing::Alone, Keep::All, suite::meters())
            .unwrap()
    }

    #[test]
    fn what_was_exported_is_imported_byte_for_byte_and_ids_go_on() {
        let [from, to, files] = [(); 3].map(|()| Folder::new());
        let (file, again) = (files.file(), files.file().with_extension("again"));
        let mut lobby = Lobby::open(log(&from), LIMIT);
        for n in 1..=30 {
            lobby.post(&format!("message {n} \u{0}\"\u{1f525}"), (n > 1).then_some(n - 1));
        }
        lobby.like(30);
        lobby.like(2);
        // beside the server
        let reader = Kind::Sqlite(from.file(), Synchronous::Full).reader().unwrap();
        assert_eq!(suite::wait(export(&*reader, &file)).unwrap(), 30);
        assert_eq!(import(&mut *log(&to), &file).unwrap(), 30);
        let why = import(&mut *log(&to), &file).unwrap_err().to_string();
        assert!(why.contains("chat.db") && why.contains("there are messages in it"), "{why}");
        let mut copy = Lobby::open(log(&to), LIMIT);
        assert_eq!(copy.history.load(), lobby.history.load());
        assert_ne!(copy.epoch, lobby.epoch);
        assert_eq!(suite::wait(export(&*copy.log.reader(), &again)).unwrap(), 30);
        assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&file).unwrap());
        assert_eq!((copy.like(2), copy.post("next", None)["id"].clone()), (Some(2), 31.into()));
    }

    #[test]
    fn an_export_that_fails_leaves_the_former_one_as_it_was() {
        let [from, files] = [(); 2].map(|()| Folder::new());
        let mut lobby = Lobby::open(log(&from), LIMIT);
        lobby.post("one", None);
        let reader = lobby.log.reader();
        assert_eq!(suite::wait(export(&*reader, &files.file())).unwrap(), 1);
        let former = std::fs::read(files.file()).unwrap();
        lobby.log.close();
        assert!(suite::wait(export(&*reader, &files.file())).is_err(), "the reader is closed");
        assert_eq!(std::fs::read(files.file()).unwrap(), former);
        assert_eq!(std::fs::read_dir(files.file().parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_line_that_is_none_is_named_and_nothing_is_imported() {
        let [to, files] = [(); 2].map(|()| Folder::new());
        let line = |id: u64| {
            let rest = r#""content":"x","reply_to_id":null,"reply_to_content":null,"likes":0"#;
            format!(r#"{{"id":{id},"timestamp":"2026-01-02T03:04:05.000006Z",{rest}}}"#)
        };
        for (second, why) in [
            (line(5), "line 2: message 5 is not newer than the one before"),
            ("{}".to_owned(), "line 2: missing field `id`"),
            (String::new(), "line 2: EOF"),
        ] {
            std::fs::write(files.file(), format!("{}\n{second}\n{}\n", line(5), line(6))).unwrap();
            let said = import(&mut *log(&to), &files.file()).unwrap_err().to_string();
            assert!(said.starts_with(why), "{said}");
        }
        assert_eq!(Lobby::open(log(&to), LIMIT).post("first", None)["id"], 1);
        let missing = import(&mut *log(&to), Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(missing.starts_with("/no/such/file: "), "{missing}");
        assert!(import(&mut Memory::default(), &files.file()).is_err());
        assert!(Kind::Sqlite(files.file().with_extension("none"), Synchronous::Full).reader().is_err());
    }
}
