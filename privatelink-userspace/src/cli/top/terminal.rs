//! The terminal, taken and given back as it was.

use std::io::{self, Stdout, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, Terminal};

/// The terminal while we draw on it; given back when dropped, and before a panic says anything.
pub(super) struct Guard(Terminal<CrosstermBackend<Stdout>>);

impl Guard {
    /// Takes it: raw, and on its other screen.
    ///
    /// # Errors
    ///
    /// It is none, or gone.
    pub(super) fn take() -> io::Result<Self> {
        let guard = Self(Terminal::new(CrosstermBackend::new(stdout()))?);
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            hook(panic);
        }));
        TAKEN.store(true, Ordering::Relaxed);
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        Ok(guard)
    }

    /// Draws.
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether there is something to give back: done twice, it would put the cursor upon what was said in between.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Nobody is left to be told of what fails here: the terminal may be gone.
fn give_back() {
    if !TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
}
