//! A team to look at, for an empty database: `--demo`.

use crate::{
    domain::{
        accounts, membership,
        messages::{self, Draft},
        pictures, reactions, rooms,
        user::User,
    },
    failure::Failure,
    ids, passwords,
    store::Tx,
    team::Team,
};

/// The names of the team, and the password of all.
const NAMES: [&str; 5] = ["Ann", "Ben", "Cho", "Dia", "Eli"];
const PASSWORD: &str = "hinotori";

/// A picture for one of the messages.
const PICTURE: &[u8] = include_bytes!("demo.png");

/// Fills an empty database. One that has users stays as it is.
///
/// # Errors
/// If the database failed.
pub async fn seed(team: &Team) -> Result<(), String> {
    let hash = passwords::hash(PASSWORD).map_err(|error| error.to_string())?;
    let seeded = team.store.write(move |tx| {
        if !accounts::is_empty(tx)? {
            return Ok(false);
        }
        fill(tx, &hash)?;
        Ok(true)
    });
    match seeded.await {
        Ok(true) => log::info!("event=demo what=\"log in as Ann, Ben, Cho, Dia or Eli\" password={PASSWORD}"),
        Ok(false) => log::info!("event=demo what=\"there are users already: nothing was added\""),
        Err(failure) => return Err(failure.logged().to_string()),
    }
    Ok(())
}

fn fill(tx: &mut Tx<'_>, hash: &str) -> Result<(), Failure> {
    let users = NAMES.iter().map(|name| accounts::sign_up(tx, name, hash)).collect::<Result<Vec<_>, _>>()?;
    let [ann, ben, cho, dia, eli] = [0, 1, 2, 3, 4].map(|at: usize| &users[at]);
    let general = Room::create(tx, ann, "general", false, &[ben, cho, dia, eli])?;
    let hello = general.say(
        tx,
        ann,
        "Welcome to **Rooms**! Write Markdown: _emphasis_, `code`, [links](https://example.org).",
        None,
    )?;
    general.say(
        tx,
        ben,
        "Good morning, @Ann. The new build is out:\n\n- faster search\n- pictures\n- dark mode",
        None,
    )?;
    let question = general.say(
        tx,
        cho,
        "Can somebody look at this?\n\n```rust\ncx.broadcast(\"shout\", payload)?;\n```",
        None,
    )?;
    general.say(tx, dia, "It reaches everyone who has joined the topic, on every node.", Some(question))?;
    general.say(tx, eli, "And `broadcast_from` skips the sender.", Some(question))?;
    general.say(tx, cho, "Thanks, both of you!", Some(question))?;
    general.say(tx, cho, "おはようございます。検索は日本語でもできます。", None)?;
    let picture = pictures::upload(tx, &dia.id, &pictures::recognize(PICTURE)?, PICTURE)?;
    let bird = general.post(tx, dia, "Our bird, as a picture.", None, Some(picture.id))?;
    for (user, message, emoji) in [
        (ben, hello, "👋"),
        (cho, hello, "👋"),
        (dia, hello, "🎉"),
        (ann, bird, "🔥"),
        (eli, bird, "🔥"),
        (ben, bird, "❤️"),
    ] {
        reactions::react(tx, &user.id, &general.id, message, emoji, true)?;
    }
    let design = Room::create(tx, dia, "design", false, &[ann, ben])?;
    design.say(tx, dia, "Two colors:\n\n- **vermilion** for buttons\n- **ink** for text", None)?;
    design.say(tx, ben, "> One clear look.\n\nAgreed.", None)?;
    let release = Room::create(tx, ann, "release", true, &[ben, eli])?;
    release.say(tx, ann, "A private room: only its members know of it. @Eli, the checklist?", None)?;
    release.say(tx, eli, "1. tests\n2. changelog\n3. tag", None)?;
    let direct = rooms::open_direct(tx, &ann.id, &ben.id)?;
    let direct = Room { id: direct.shared.id };
    direct.say(tx, ben, "Lunch at noon?", None)?;
    direct.say(tx, ann, "Yes! 🍜", None)?;
    Ok(())
}

/// A room of the demonstration.
struct Room {
    id: String,
}

impl Room {
    fn create(
        tx: &mut Tx<'_>,
        owner: &User,
        name: &str,
        private: bool,
        members: &[&User],
    ) -> Result<Self, Failure> {
        let id = rooms::create(tx, &owner.id, name, private)?.shared.id;
        for member in members {
            membership::invite(tx, &owner.id, &id, &member.id)?;
        }
        Ok(Self { id })
    }

    fn say(&self, tx: &mut Tx<'_>, author: &User, text: &str, reply_to: Option<i64>) -> Result<i64, Failure> {
        self.post(tx, author, text, reply_to, None)
    }

    fn post(
        &self,
        tx: &mut Tx<'_>,
        author: &User,
        text: &str,
        reply_to: Option<i64>,
        picture_id: Option<String>,
    ) -> Result<i64, Failure> {
        let draft = Draft { text: text.to_owned(), nonce: ids::new(), reply_to, picture_id };
        messages::post(tx, &author.id, &self.id, &draft)
    }
}
