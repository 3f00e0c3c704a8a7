//! A model of a policy beside the controller: it reads the newest view when it begins, takes its time, and answers with
//! anything. Each action carries the number of the question that it answers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use aegis_core::control::{Channel, ChannelKind, NoProposal, Proposal, Reply};

use super::draw::{Draw, HORIZON, Setting};

/// What a policy reads.
#[derive(Clone, Debug)]
pub struct View {
    pub episode: u64,
    pub sequence: u32,
    pub joints: Vec<f64>,
    /// When the plant took it.
    pub taken: Duration,
    /// What the controller is told of that.
    pub received: Duration,
}

/// A question, as it truly was.
#[derive(Clone, Debug)]
pub struct Question {
    /// Index of the control period that it was asked in.
    pub asked: usize,
    /// When the plant took what was read.
    pub taken: Duration,
    /// Its episode.
    pub episode: u64,
    /// Its answer says something else, and must not count.
    pub void: bool,
}

/// Every question, by its number.
pub type Questions = HashMap<u64, Question>;

struct Thinking {
    left: u32,
    answer: Option<Reply<'static>>,
    /// The answer comes a second time.
    twice: bool,
}

/// A policy.
#[derive(Default)]
pub struct Mind {
    /// Number of the newest question, and the period that it was asked in.
    asked: Option<(u64, usize)>,
    thinking: Option<Thinking>,
    answered: Option<Reply<'static>>,
    again: Option<Reply<'static>>,
}

impl Mind {
    pub fn ask(&mut self, request: u64, period: usize) {
        self.asked = Some((request, period));
    }

    /// The newest answer, once.
    pub fn hear(&mut self) -> Option<Reply<'static>> {
        self.answered.take()
    }

    /// A control period goes by.
    pub fn work(&mut self) {
        if let Some(again) = self.again.take() {
            self.answered = Some(again);
        }
        let Some(thinking) = &mut self.thinking else { return };
        if thinking.left > 0 {
            thinking.left -= 1;
            return;
        }
        let answer = thinking.answer.take();
        if thinking.twice {
            self.again = answer.clone();
        }
        if answer.is_some() {
            self.answered = answer;
        }
        self.thinking = None;
    }

    /// Begins with the newest question where it has nothing else to do and something to look at.
    pub fn begin(
        &mut self,
        draw: &mut Draw,
        setting: &Setting,
        view: Option<&View>,
        questions: &mut Questions,
    ) {
        if self.thinking.is_some() {
            return;
        }
        let Some(view) = view else { return };
        let Some((request, asked)) = self.asked.take() else { return };
        let left = match draw.whole(0..=9) {
            0..=5 => 0,
            6..=8 => draw.whole(0..=4),
            _ => draw.whole(0..=12),
        };
        let (mut number, mut episode) = (request, view.episode);
        match draw.whole(0..=99) {
            0 => episode += 1,
            1 => episode = episode.saturating_sub(1),
            2 | 3 => number += 1,
            _ => {}
        }
        let void = (number, episode) != (request, view.episode);
        questions.insert(request, Question { asked, taken: view.taken, episode: view.episode, void });
        let score = if draw.chance(0.03) { f64::NAN } else { draw.real(0.0, 0.7) };
        let proposal = chunk(draw, setting, view, request).map(|(width, values)| Proposal {
            width,
            values: Cow::Owned(values),
            score,
        });
        let reply = Reply {
            request: number,
            episode,
            observed: view.sequence,
            took: Duration::ZERO,
            proposal,
            taken: Some(view.received),
        };
        let (never, twice) = (draw.chance(0.01), draw.chance(0.03));
        self.thinking = Some(Thinking { left, answer: (!never).then_some(reply), twice });
    }
}

/// Width and values of a chunk for what was seen: near where the joints are or anywhere, and now and then none.
fn chunk(
    draw: &mut Draw,
    setting: &Setting,
    view: &View,
    request: u64,
) -> Result<(usize, Vec<f32>), NoProposal> {
    let channels = &setting.recipe.settings.channels[..setting.joints];
    let is_wild = draw.chance(setting.wild);
    let mut at = view.joints.clone();
    let mut actions: Vec<Vec<f32>> = (0..HORIZON)
        .map(|_| {
            let step = |(channel, at): (&Channel, &mut f64)| {
                let value = match channel.kind {
                    _ if is_wild => draw.real(channel.low, channel.high),
                    ChannelKind::Position => {
                        *at = (*at + draw.real(-channel.velocity, channel.velocity))
                            .clamp(channel.low, channel.high);
                        *at
                    }
                    ChannelKind::Rate | ChannelKind::Discrete => {
                        draw.real(-channel.velocity, channel.velocity)
                    }
                };
                value as f32
            };
            let joints = channels.iter().zip(&mut at).map(step);
            joints.chain([request as f32]).collect()
        })
        .collect();
    if draw.chance(setting.bad) {
        let action = draw.whole(0..=11) as usize;
        match draw.whole(0..=8) {
            0 => actions[action][0] = f32::NAN,
            1 => actions[action][0] = f32::NEG_INFINITY,
            2 => actions[action][0] = channels[0].high as f32 * 1.5,
            3 => actions.truncate(HORIZON - 1),
            4 => actions.iter_mut().for_each(|action| action.push(0.0)),
            5 => return Err(NoProposal::Deadline),
            6 => return Err(NoProposal::NotFinite),
            7 => return Err(NoProposal::Failed),
            _ => return Err(NoProposal::Gone),
        }
    }
    Ok((actions[0].len(), actions.concat()))
}
