//! Actors that survive a panic.
//!
//! actix's `Supervisor` restarts an actor that stops, but not one whose handler panicked: the address of that actor is
//! dead. So the panic is caught in the handler and the context is stopped. The Supervisor does the rest: the address
//! stays valid, messages that wait in the mailbox are handled, and the actor's fields are as the handler left them. An
//! actor that keeps panicking ends the process, so that a supervisor of the process can act.
//!
//! # Source
//! Elixir `Supervisor`, `max_restarts` and `max_seconds`.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt,
    io::Write,
    panic::{self, AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, Context};

use crate::{
    callback::{panic_message, panic_text},
    telemetry::{Counter, Quoted},
};

/// This many panics within [`WITHIN`] end the process.
const MAX_CRASHES: usize = 3;

/// See [`MAX_CRASHES`]. Elixir's supervisors restart three times in this time, and give up at the fourth.
const WITHIN: Duration = Duration::from_secs(5);

/// The exit code of a process whose actor keeps panicking: `EX_SOFTWARE` of sysexits.h.
const EXIT_CODE: i32 = 70;

/// Guards the handlers of one actor that runs under [`actix::Supervisor`].
///
/// A handler should change the actor's fields only after everything that can panic, because the fields are kept.
///
/// ```
/// use actix::{Actor, Context, Handler, Message, Supervised, Supervisor};
/// use hinotori::supervise::{Crashed, Guard};
///
/// struct Divider {
///     guard: Guard,
/// }
///
/// #[derive(Message)]
/// #[rtype(result = "Result<u32, Crashed>")]
/// struct Divide(u32, u32);
///
/// impl Actor for Divider {
///     type Context = Context<Self>;
/// }
/// impl Supervised for Divider {}
///
/// impl Handler<Divide> for Divider {
///     type Result = Result<u32, Crashed>;
///     fn handle(&mut self, Divide(a, b): Divide, ctx: &mut Context<Self>) -> Self::Result {
///         self.guard.run(ctx, || a / b)
///     }
/// }
///
/// # actix::System::new().block_on(async {
/// let divider = Supervisor::start(|_| Divider { guard: Guard::new("divider") });
/// assert_eq!(divider.send(Divide(1, 0)).await.unwrap(), Err(Crashed));
/// assert_eq!(divider.send(Divide(6, 2)).await.unwrap(), Ok(3));
/// # });
/// ```
#[derive(Debug)]
pub struct Guard {
    name: &'static str,
    crashes: Vec<Instant>,
    /// The counter of its crashes.
    counted: Option<Counter>,
}

impl Guard {
    /// A guard; `name` is the actor's name in the log.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, crashes: Vec::new(), counted: None }
    }

    /// Counts crashes in the metrics of a server, as `hinotori_crashes_total` of the actor's name. Needs the feature
    /// `metrics`.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn counted(mut self, endpoint: &crate::Endpoint) -> Self {
        self.counted = Some(endpoint.node().telemetry.crashes_of(self.name));
        self
    }

    /// Runs a handler's body. If it panics, the actor is restarted; the third time within 5 s, the process exits with
    /// code 70.
    ///
    /// # Errors
    /// [`Crashed`] if the body panicked.
    pub fn run<A, T>(&mut self, ctx: &mut Context<A>, body: impl FnOnce() -> T) -> Result<T, Crashed>
    where
        A: Actor<Context = Context<A>>,
    {
        catch_unwind(AssertUnwindSafe(body)).map_err(|panic| {
            let why = panic_message(&*panic);
            log::error!("event=crashed of={} then=restarted why={}", self.name, Quoted(&why));
            self.crashed();
            ctx.stop();
            Crashed
        })
    }

    fn crashed(&mut self) {
        if let Some(counted) = &self.counted {
            counted.inc();
        }
        let now = Instant::now();
        self.crashes.push(now);
        self.crashes.retain(|then| now.duration_since(*then) <= WITHIN);
        if self.crashes.len() >= MAX_CRASHES {
            let name = self.name;
            log::error!("event=gave_up of={name} crashes={MAX_CRASHES} within={WITHIN:?}");
            let last_words =
                format!("error: {name} crashed {MAX_CRASHES} times within {WITHIN:?}, giving up\n");
            // whether anybody hears it or not
            let _ = std::io::stderr().write_all(last_words.as_bytes());
            std::process::exit(EXIT_CODE);
        }
    }
}

/// Logs each panic as one line, instead of Rust's own lines on standard error, in which the text of a client might look
/// like log lines. It applies to the whole process. Call it after the log has been set up.
///
/// With `RUST_BACKTRACE=1` the backtrace follows on standard error.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        log::error!("event=panicked at={} why={}", Quoted(&at), Quoted(panic_text(panic.payload())));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            // whether anybody hears it or not
            let _ = std::io::stderr().write_all(backtrace.to_string().as_bytes());
        }
    }));
}

/// The actor panicked on this message. It is running again, but the message is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashed;

impl fmt::Display for Crashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the actor crashed on this message and was restarted")
    }
}

impl std::error::Error for Crashed {}
