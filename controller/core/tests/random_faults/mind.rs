//! Model of a policy beside the controller: reads the newest view when an inference begins, takes a random time, and
//! gives a random reply. Each action carries the number of the request that it answers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use aegis_core::control::{Channel, ChannelKind, NoProposal, Proposal, Reply};

use super::draw::{Draw, HORIZON, Setting};

/// View: the observation that a policy reads.
#[derive(Clone, Debug)]
pub struct View {
    pub episode: u64,
    pub sequence: u32,
    pub joints: Vec<f64>,
    /// Time at which the plant took the observation.
    pub taken: Duration,
    /// Time at which the plant took the observation, as the controller is told.
    pub received: Duration,
}

/// True data of a request.
#[derive(Clone, Debug)]
pub struct Question {
    /// Index of the control period of the request.
    pub asked: usize,
    /// Time at which the plant took the observation that was read.
    pub taken: Duration,
    /// Episode of that observation.
    pub episode: u64,
    /// Whether the reply names another request or episode and must not count.
    pub void: bool,
}

/// Every request, by number.
pub type Questions = HashMap<u64, Question>;

struct Thinking {
    left: u32,
    answer: Option<Reply<'static>>,
    /// Whether the reply arrives a second time.
    twice: bool,
}

/// Model of a policy.
#[derive(Default)]
pub struct Mind {
    /// Number of the newest request, and the period in which it was made.
    asked: Option<(u64, usize)>,
    thinking: Option<Thinking>,
    answered: Option<Reply<'static>>,
    again: Option<Reply<'static>>,
}

impl Mind {
    pub fn ask(&mut self, request: u64, period: usize) {
        self.asked = Some((request, period));
    }

    /// Returns the newest reply, once.
    pub fn hear(&mut self) -> Option<Reply<'static>> {
        self.answered.take()
    }

    /// Advances the inference by one control period.
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

    /// Begins an inference for the newest request, if the policy is free and has a view.
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
            benefit: None,
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

/// Returns width and values of a chunk for a view: near the joints' positions or anywhere, and occasionally invalid or none.
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
