//! LoRA's factors on the device, flat, in few buffers.

use super::dora::{Dora, DoraPlace, DoraRows};
use crate::adapter::{
    Adaptable, BaseTensor, FirstRows, LoraConfig, LoraModule, Side, factor_name, magnitude_name, row_pieces,
};
use crate::device::Store;
use crate::error::Result;
use crate::kernels::linear::NONE;
use crate::memory::{ALIGNMENT, Class, MAX_BINDING, Tensor};
use crate::model::architecture::{Architecture, ByGroup, Group, Module, pad8};
use crate::model::names::{EMBEDDING, HEAD};
use crate::model::parameters::{Entry, EntryPlace, Parameters, padded};
use crate::model::weights::{Model, Stacked};

/// Values between places in a flat buffer that bindings can start at.
pub(super) const STEP: usize = ALIGNMENT as usize / 4;

/// The adapter of a model. The rank is padded to a multiple of 8 with zeros, which stay zero: the
/// gradient of each is a product with another of them.
#[derive(Clone)]
pub struct Lora {
    pub config: LoraConfig,
    /// The values, in as few tensors as bindings allow.
    params: Vec<Tensor>,
    /// The same of every A, where these stay as they are.
    frozen: Vec<Tensor>,
    /// For each layer, each group, each stacked product: its panel if it has one.
    pub panels: Vec<ByGroup<Vec<Option<LoraPanel>>>>,
    factors: Vec<LoraFactor>,
    rank: usize,
    pub(super) dora: Option<Dora>,
}

/// The LoRA factors of one stacked product.
#[derive(Clone, Debug)]
pub struct LoraPanel {
    /// Of B and the magnitudes.
    pub segment: usize,
    /// Of A: the same, or one of those that are frozen.
    pub a_segment: usize,
    /// Of A [modules · R, K] in its segment, in values.
    pub a_first: usize,
    pub a_len: usize,
    /// Of all the B [N, R] one behind another, in values.
    pub b_first: usize,
    pub b_len: usize,
    /// Of all the magnitudes one behind another, in values; none without DoRA.
    pub m_first: usize,
    pub m_len: usize,
    /// Where DoRA keeps what it knows of the rows.
    pub(super) dora: DoraPlace,
    /// Adapted modules; T has this many times R columns.
    pub modules: usize,
    pub section_end: [u32; 4],
    pub t_offset: [u32; 4],
    pub b_base: [u32; 4],
    /// What each layer's part of the output is multiplied with.
    pub scale: [f32; 4],
}

impl LoraPanel {
    /// Its adapted layers by runs of one scale: the scale, and whether each layer is in the run.
    pub fn by_scale(&self) -> Vec<(f32, [bool; 4])> {
        let mut runs: Vec<(f32, [bool; 4])> = Vec::new();
        for section in (0..4).filter(|&section| self.t_offset[section] != NONE) {
            let scale = self.scale[section];
            let known = runs.iter().position(|(of, _)| *of == scale);
            let run = known.unwrap_or_else(|| {
                runs.push((scale, [false; 4]));
                runs.len() - 1
            });
            runs[run].1[section] = true;
        }
        runs
    }

    /// Layers that the kernels tell apart, adapted or not.
    pub fn sections(&self) -> usize {
        self.section_end.iter().filter(|&&end| end != u32::MAX).count()
    }
}

/// Where one module's factors lie, and their true shape.
#[derive(Clone, Debug)]
pub struct LoraFactor {
    pub module: LoraModule,
    segment: usize,
    a_segment: usize,
    a_first: usize,
    a_stride: usize,
    b_first: usize,
    m_first: usize,
}

/// The modules of a model that LoRA may adapt, with their paths as PEFT names them.
pub fn lora_modules(architecture: &Architecture) -> Vec<LoraModule> {
    architecture.modules().map(|(layer, module)| lora_module(architecture, layer, module)).collect()
}

fn lora_module(architecture: &Architecture, layer: usize, module: &Module) -> LoraModule {
    LoraModule {
        path: format!("{}.{layer}.{}", architecture.adapter_path, module.path),
        in_features: module.inputs.real,
        out_features: module.outputs.real,
    }
}

/// What of a model an adapter may change, by the names of the model that PEFT adapts.
pub fn adaptable(architecture: &Architecture) -> Adaptable {
    let mut tensors = architecture.checkpoint_tensors();
    if architecture.tied {
        tensors.push((HEAD.to_owned(), vec![architecture.vocab.real, architecture.hidden.real]));
    }
    let is_linear = |name: &str, shape: &[usize]| shape.len() == 2 && ![EMBEDDING, HEAD].contains(&name);
    let others = tensors.into_iter().filter(|(name, shape)| !is_linear(name, shape));
    let others =
        others.map(|(name, shape)| BaseTensor { name: peft_name(architecture, &name), shape }).collect();
    Adaptable { linears: lora_modules(architecture), others }
}

/// The name that a tensor of a model of text has in the model that PEFT adapts.
pub fn peft_name(architecture: &Architecture, name: &str) -> String {
    let text = architecture.adapter_path.strip_suffix(".layers").unwrap_or(architecture.adapter_path);
    match name.strip_prefix("model.") {
        Some(rest) => format!("{text}.{rest}"),
        None => name.to_owned(),
    }
}

impl Lora {
    /// Lays the adapter of `config` out in `store`. By itself it does not learn.
    ///
    /// # Errors
    ///
    /// Code `bad-option` for a target module that the model has not; `out-of-memory`.
    pub fn new(model: &Model, config: LoraConfig, store: &mut Store) -> Result<Self> {
        let modules = lora_modules(&model.architecture);
        let targets: Vec<&LoraModule> = config.resolve(&modules)?;
        let rank = pad8(targets.iter().map(|module| config.rank_of(module)).max().unwrap_or(config.r));
        let (mut learning, mut frozen) = (Lane::default(), Lane::default());
        let mut factors = Vec::new();
        let mut panels = Vec::new();
        let mut rows = DoraRows::default();
        for (layer, weights) in model.layers.iter().enumerate() {
            let mut of_layer = ByGroup::<Vec<Option<LoraPanel>>>::default();
            for group in Group::ALL {
                let mut whole = None;
                for stacked in &weights.groups[group] {
                    // What is cut is laid out with its first part, as if it were not.
                    if stacked.rows.start > 0 {
                        let part = whole.as_ref().and_then(|it| part_of(it, stacked, rank));
                        of_layer[group].push(part.map(|part| rows.of_part(part, stacked)));
                        continue;
                    }
                    let adapted = |module: &Module| {
                        let module = lora_module(&model.architecture, layer, module);
                        targets.iter().any(|target| **target == module)
                    };
                    let mut panel = LoraPanel::of(stacked, (rank, config.use_dora), adapted);
                    if let Some(panel) = &mut panel {
                        panel.place(&mut learning, config.freeze_a.then_some(&mut frozen));
                        for (section, module) in stacked.modules.iter().enumerate() {
                            let module = lora_module(&model.architecture, layer, module);
                            panel.scale[section] = config.scale_of(&module);
                        }
                        rows.of_panel(panel);
                        factors.extend(panel_factors(&model.architecture, layer, (stacked, rank), panel));
                    }
                    let part = panel.as_ref().and_then(|panel| part_of(panel, stacked, rank));
                    of_layer[group].push(part.map(|part| rows.of_part(part, stacked)));
                    whole = panel;
                }
            }
            panels.push(of_layer);
        }
        let params = learning.keep(store)?;
        let frozen = frozen.keep(store)?;
        let dora = config.use_dora.then(|| rows.keep(store)).transpose()?;
        Ok(Lora { config, params, frozen, panels, factors, rank, dora })
    }

    /// Lets the adapter learn, all but what is frozen.
    pub(super) fn register(&self, parameters: &mut Parameters) {
        for (index, &param) in self.params.iter().enumerate() {
            parameters.add(format!("lora.{index}"), param, true, None);
        }
        for (index, &param) in self.frozen.iter().enumerate() {
            parameters.add_frozen(format!("frozen.{index}"), param);
        }
        for factor in &self.factors {
            for side in Side::BOTH {
                let entry = Entry {
                    name: factor_name(&factor.module.path, side),
                    shape: factor.module.shape(side, self.config.rank_of(&factor.module)).to_vec(),
                    places: vec![self.place(factor, side)],
                    offset: 0.0,
                };
                match side == Side::A && self.config.freeze_a {
                    true => parameters.add_frozen_entry(entry),
                    false => parameters.add_entry(entry),
                }
            }
            if self.dora.is_some() {
                parameters.add_entry(Entry {
                    name: magnitude_name(&factor.module.path),
                    shape: vec![factor.module.out_features],
                    places: vec![factor.magnitudes()],
                    offset: 0.0,
                });
            }
        }
    }

    /// The adapter with its values in other places.
    pub(super) fn moved(&self, place: impl Fn(Tensor) -> Tensor) -> Lora {
        Lora { params: self.params.iter().map(|&param| place(param)).collect(), ..self.clone() }
    }

    /// Writes the factors of every module as `rows` gives them: module by module, all rows of A before those
    /// of B. A store that only plans asks for none.
    pub fn write(&self, store: &Store, rows: &mut FirstRows<'_>) {
        if store.is_planned() {
            return;
        }
        for factor in &self.factors {
            for side in Side::BOTH {
                let [count, cols] = factor.module.shape(side, self.config.rank_of(&factor.module));
                let EntryPlace { segment, first, stride, .. } = self.place(factor, side);
                for piece in row_pieces(count, cols) {
                    let at = 4 * (first + piece.start * stride) as u64;
                    let values = padded(rows(&factor.module, side, piece), cols, stride);
                    store.write_at(self.tensors(side)[segment], at, &values);
                }
            }
        }
    }

    /// The padded rank R.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The adapted modules, in the model's order.
    pub fn factors(&self) -> &[LoraFactor] {
        &self.factors
    }

    fn place(&self, factor: &LoraFactor, side: Side) -> EntryPlace {
        let (segment, first, stride) = match side {
            Side::A => (factor.a_segment, factor.a_first, factor.a_stride),
            Side::B => (factor.segment, factor.b_first, self.rank),
        };
        let [rows, _] = factor.module.shape(side, self.config.rank_of(&factor.module));
        EntryPlace { rows: 0..rows, segment, first, stride }
    }

    /// Those that the values of a side are in.
    fn tensors(&self, side: Side) -> &[Tensor] {
        if side == Side::A && self.config.freeze_a { &self.frozen } else { &self.params }
    }

    /// All A of a panel.
    pub(in crate::model) fn a(&self, panel: &LoraPanel) -> Tensor {
        self.tensors(Side::A)[panel.a_segment].slice(panel.a_first as u64 * 4, panel.a_len as u64 * 4)
    }

    /// All magnitudes of a panel.
    pub(in crate::model) fn m(&self, panel: &LoraPanel) -> Tensor {
        self.params[panel.segment].slice(panel.m_first as u64 * 4, panel.m_len as u64 * 4)
    }

    /// The values of a segment.
    pub(super) fn params(&self, segment: usize) -> Tensor {
        self.params[segment]
    }

    /// All B of a panel.
    pub(in crate::model) fn b(&self, panel: &LoraPanel) -> Tensor {
        self.params[panel.segment].slice(panel.b_first as u64 * 4, panel.b_len as u64 * 4)
    }
}

impl LoraFactor {
    /// Where its magnitudes lie.
    pub(super) fn magnitudes(&self) -> EntryPlace {
        let rows = 0..self.module.out_features;
        EntryPlace { rows, segment: self.segment, first: self.m_first, stride: 1 }
    }
}

/// Values one behind another, in as few tensors as bindings allow.
#[derive(Default)]
struct Lane {
    lengths: Vec<usize>,
}

impl Lane {
    /// The segment of the next `len` values, and the first of them there.
    fn place(&mut self, len: usize) -> (usize, usize) {
        const SEGMENT_VALUES: usize = (MAX_BINDING / 4) as usize;
        // What would outgrow what a binding holds begins the next segment.
        if self.lengths.last().is_none_or(|&end| end > 0 && end + len > SEGMENT_VALUES) {
            self.lengths.push(0);
        }
        let segment = self.lengths.len() - 1;
        let first = self.lengths[segment];
        self.lengths[segment] += len;
        (segment, first)
    }

    fn keep(&self, store: &mut Store) -> Result<Vec<Tensor>> {
        self.lengths.iter().map(|&len| store.keep(Class::Adapter, "lora", len)).collect()
    }
}

impl LoraPanel {
    /// That of a stacked product, with A before B and magnitudes behind them where `has_magnitudes`, as if it were all that a
    /// segment has; `None` where LoRA adapts none.
    fn of(
        stacked: &Stacked,
        (rank, has_magnitudes): (usize, bool),
        adapted: impl Fn(&Module) -> bool,
    ) -> Option<Self> {
        let mut panel = LoraPanel {
            segment: 0,
            a_segment: 0,
            a_first: 0,
            a_len: 0,
            b_first: 0,
            b_len: 0,
            m_first: 0,
            m_len: 0,
            dora: DoraPlace::default(),
            modules: 0,
            section_end: [u32::MAX; 4],
            t_offset: [NONE; 4],
            b_base: [0; 4],
            scale: [1.0; 4],
        };
        let mut cols = 0;
        for (section, module) in stacked.modules.iter().enumerate() {
            let width = module.outputs.padded;
            cols += width;
            panel.section_end[section] = cols as u32;
            if adapted(module) {
                panel.t_offset[section] = (panel.modules * rank) as u32;
                panel.b_base[section] = panel.b_len as u32;
                panel.modules += 1;
                panel.b_len += width * rank;
            }
        }
        if panel.modules == 0 {
            return None;
        }
        panel.a_len = panel.modules * rank * stacked.inputs().padded;
        panel.b_first = panel.a_len.next_multiple_of(STEP);
        if has_magnitudes {
            (panel.m_first, panel.m_len) =
                ((panel.b_first + panel.b_len).next_multiple_of(STEP), panel.b_len / rank);
        }
        Some(panel)
    }

    /// Gives it its place behind those that `learning` has; A one of its own where there is a lane for what is frozen.
    fn place(&mut self, learning: &mut Lane, frozen: Option<&mut Lane>) {
        let end = (self.b_first + self.b_len).max(self.m_first + self.m_len).next_multiple_of(STEP);
        let before = frozen.as_ref().map_or(0, |_| self.b_first);
        let (segment, first) = learning.place(end - before);
        (self.a_segment, self.a_first) = match frozen {
            Some(frozen) => frozen.place(before),
            None => (segment, first),
        };
        self.segment = segment;
        self.b_first = first + self.b_first - before;
        self.m_first = first + self.m_first.saturating_sub(before);
    }
}

/// What a product has of the `panel` of all its modules; `None` where LoRA adapts none of what it has.
fn part_of(panel: &LoraPanel, stacked: &Stacked, rank: usize) -> Option<LoraPanel> {
    let total: usize = stacked.modules.iter().map(|module| module.outputs.padded).sum();
    if stacked.cols() == total {
        return Some(panel.clone());
    }
    let part = stacked.parts().next().expect("a product has rows");
    let t_offset = panel.t_offset[part.section];
    if t_offset == NONE {
        return None;
    }
    let a_len = rank * stacked.inputs().padded;
    let b_base = panel.b_base[part.section] + (part.rows.start * rank) as u32;
    Some(LoraPanel {
        a_first: panel.a_first + t_offset as usize / rank * a_len,
        a_len,
        modules: 1,
        section_end: [stacked.cols() as u32, u32::MAX, u32::MAX, u32::MAX],
        t_offset: [0, NONE, NONE, NONE],
        b_base: [b_base, 0, 0, 0],
        scale: [panel.scale[part.section]; 4],
        ..panel.clone()
    })
}

/// The factors of the adapted modules of a panel.
fn panel_factors<'a>(
    architecture: &'a Architecture,
    layer: usize,
    (stacked, rank): (&'a Stacked, usize),
    panel: &'a LoraPanel,
) -> impl Iterator<Item = LoraFactor> + 'a {
    let a_stride = stacked.inputs().padded;
    let sections = stacked.modules.iter().enumerate();
    let adapted = sections.filter(|(section, _)| panel.t_offset[*section] != NONE);
    adapted.map(move |(section, module)| LoraFactor {
        module: lora_module(architecture, layer, module),
        segment: panel.segment,
        a_segment: panel.a_segment,
        a_first: panel.a_first + panel.t_offset[section] as usize * a_stride,
        a_stride,
        b_first: panel.b_first + panel.b_base[section] as usize,
        m_first: panel.m_first + panel.b_base[section] as usize / rank,
    })
}
