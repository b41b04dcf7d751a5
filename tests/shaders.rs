//! Every kernel and variant as a browser takes it: valid WGSL under WebGPU's default limits, with
//! structs that lie in memory as the host's do. Needs no GPU.

use std::any::type_name_of_val;
use std::mem::{offset_of, size_of};

use bytemuck::Zeroable;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Handle, Module, ResourceBinding, ScalarKind, Type, TypeInner};
use tabtune::kernels::{self, SHADERS};

/// WebGPU's default limits (section 3.6.2 of its specification), which every adapter grants.
const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_WORKGROUP_BYTES: u32 = 16 * 1024;
/// What the shaders that no browser gets may take.
const MAX_NATIVE_WORKGROUP_BYTES: u32 = 32 * 1024;
const MAX_INVOCATIONS: u32 = 256;
const MAX_WORKGROUP_SIZE: [u32; 3] = [256, 256, 64];

/// Name, type by Rust's name for it, and offset in bytes.
type Member = (String, String, u32);

/// A struct as it lies in memory, but for members whose names begin with `pad`.
#[derive(Debug, PartialEq)]
struct Layout {
    members: Vec<Member>,
    /// Rounded up to a multiple of 16, as uniform buffers are.
    size: u32,
}

impl Layout {
    fn new(members: impl Iterator<Item = Member>, size: u32) -> Self {
        let members = members.filter(|(name, ..)| !name.starts_with("pad")).collect();
        Layout { members, size: size.next_multiple_of(16) }
    }
}

/// The layout of a host struct. The pattern has no `..`, so a field left out does not compile.
macro_rules! layout {
    ($path:ty { $($field:ident),* $(,)? }) => {{
        type Host = $path;
        let Host { $($field),* } = Host::zeroed();
        let members = [$((
            stringify!($field).to_owned(),
            type_name_of_val(&$field).to_owned(),
            offset_of!(Host, $field) as u32,
        )),*];
        Layout::new(members.into_iter(), size_of::<Host>() as u32)
    }};
}

/// The host's layout of the struct that `shader`, a name without variants, calls `name`, where the shader declares it
/// itself and `build.rs` does not write it from the host's.
fn host_layout(shader: &str, name: &str) -> Option<Layout> {
    let layout = match (shader, name) {
        ("cross_entropy_forward_backward", "Params") => {
            layout!(kernels::cross_entropy::Params { rows, vocab, stride, first })
        }
        ("embedding_forward", "Params") => {
            layout!(kernels::embedding::Params { rows, stride, first_id, n_ids })
        }
        ("rms_norm_forward" | "rms_norm_backward", "Params") => {
            layout!(kernels::rms_norm::Params { rows, cols, stride, eps })
        }
        ("rope", "Params") => layout!(kernels::rope::Params {
            rows,
            stride,
            q_offset,
            k_offset,
            q_heads,
            kv_heads,
            head_dim,
            sign,
            table_stride,
        }),
        ("swiglu_forward" | "swiglu_backward", "Params") => {
            layout!(kernels::swiglu::Params { rows, half })
        }
        _ => return None,
    };
    Some(layout)
}

/// Every shader by name, parsed.
fn modules() -> impl Iterator<Item = (&'static str, Module)> {
    assert!(!SHADERS.is_empty(), "there are no shaders");
    SHADERS.iter().map(|&(name, text)| {
        let module = naga::front::wgsl::parse_str(text)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
        (name, module)
    })
}

/// The Rust name of a type that host structs may have: f32, u32, i32, or four of one.
fn host_type(module: &Module, ty: Handle<Type>) -> Option<String> {
    let scalar_name = |scalar: naga::Scalar| match (scalar.kind, scalar.width) {
        (ScalarKind::Float, 4) => Some("f32"),
        (ScalarKind::Uint, 4) => Some("u32"),
        (ScalarKind::Sint, 4) => Some("i32"),
        _ => None,
    };
    match module.types[ty].inner {
        TypeInner::Scalar(scalar) => scalar_name(scalar).map(str::to_owned),
        TypeInner::Vector { size, scalar } => {
            scalar_name(scalar).map(|scalar| format!("[{scalar}; {}]", size as u32))
        }
        _ => None,
    }
}

/// What a shader's variants want that not every adapter has.
fn wanted(name: &str) -> Capabilities {
    let mut wanted = Capabilities::empty();
    wanted.set(Capabilities::SUBGROUP, name.contains(".subgroup") || is_cooperative(name));
    wanted.set(Capabilities::SHADER_FLOAT16, name.contains(".half") || is_cooperative(name));
    wanted.set(Capabilities::COOPERATIVE_MATRIX, is_cooperative(name));
    wanted
}

/// Whether a shader is for native adapters only.
fn is_cooperative(name: &str) -> bool {
    name.contains(".cooperative")
}

#[test]
fn every_shader_is_valid_with_no_more_than_its_name_says() {
    for (name, module) in modules() {
        let mut validator = Validator::new(ValidationFlags::all(), wanted(name));
        if wanted(name).contains(Capabilities::SUBGROUP) {
            validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
            validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
        }
        validator.validate(&module).unwrap_or_else(|error| {
            panic!("{name}: {}", error.emit_to_string(kernels::shader(name).unwrap()))
        });
        let text = kernels::shader(name).expect("names are sorted, so a search finds each");
        let is_directive = |line: &&str| line.starts_with("enable") || line.starts_with("requires");
        let allowed: &[&str] = match (name.contains(".half"), is_cooperative(name)) {
            (false, false) => &[],
            (true, _) => &["enable f16;"],
            (_, true) => &["enable f16;", "enable wgpu_cooperative_matrix;"],
        };
        assert_eq!(text.lines().filter(is_directive).collect::<Vec<_>>(), allowed, "{name}");
    }
}

#[test]
fn every_shader_keeps_to_the_default_limits() {
    for (name, module) in modules() {
        let [entry] = &module.entry_points[..] else { panic!("{name} has not one entry point") };
        assert_eq!((entry.name.as_str(), entry.stage), ("main", naga::ShaderStage::Compute), "{name}");
        assert!(module.overrides.is_empty(), "{name} has overrides, which nobody sets");

        let size = entry.workgroup_size;
        let invocations: u32 = size.iter().product();
        assert!((1..=MAX_INVOCATIONS).contains(&invocations), "{name}: a workgroup of {size:?}");
        assert!(size.iter().zip(MAX_WORKGROUP_SIZE).all(|(&size, max)| size <= max), "{name}: {size:?}");

        let storage = module.global_variables.iter();
        let storage = storage.filter(|(_, var)| matches!(var.space, AddressSpace::Storage { .. })).count();
        assert!(storage <= MAX_STORAGE_BUFFERS, "{name} binds {storage} storage buffers");

        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).expect("types have layouts");
        // Each variable begins at a multiple of 16, as the specification counts.
        let workgroup_bytes: u32 = module
            .global_variables
            .iter()
            .filter(|(_, var)| var.space == AddressSpace::WorkGroup)
            .map(|(_, var)| layouter[var.ty].size.next_multiple_of(16))
            .sum();
        let most = if is_cooperative(name) { MAX_NATIVE_WORKGROUP_BYTES } else { MAX_WORKGROUP_BYTES };
        assert!(workgroup_bytes <= most, "{name}: {workgroup_bytes} bytes of workgroup memory");

        // Browsers may refuse pointers to other spaces as parameters, which naga takes.
        for (_, function) in module.functions.iter() {
            for argument in &function.arguments {
                let space = match module.types[argument.ty].inner {
                    TypeInner::Pointer { space, .. } | TypeInner::ValuePointer { space, .. } => space,
                    _ => continue,
                };
                assert!(
                    matches!(space, AddressSpace::Function | AddressSpace::Private),
                    "{name}: {:?} takes a pointer to {space:?}",
                    function.name
                );
            }
        }
    }
}

/// The recorder binds Params at 0 and the tensors at 1, 2, … of group 0.
#[test]
fn bindings_are_params_and_then_storage_buffers_in_a_row() {
    for (name, module) in modules() {
        let mut bound: Vec<(ResourceBinding, AddressSpace)> =
            module.global_variables.iter().filter_map(|(_, var)| Some((var.binding?, var.space))).collect();
        bound.sort_by_key(|(binding, _)| (binding.group, binding.binding));
        assert!(bound.len() > 1, "{name} writes to nothing");
        for (index, (binding, space)) in bound.into_iter().enumerate() {
            assert_eq!((binding.group, binding.binding as usize), (0, index), "{name}");
            match index {
                0 => assert_eq!(space, AddressSpace::Uniform, "{name}: binding 0"),
                _ => assert!(matches!(space, AddressSpace::Storage { .. }), "{name}: binding {index}"),
            }
        }
    }
}

#[test]
fn structs_lie_in_memory_as_the_hosts_do() {
    for (name, module) in modules() {
        let shader = name.split('.').next().expect("a split has a first part");
        let mut has_params = false;
        for (_, var) in module.global_variables.iter().filter(|(_, var)| var.binding.is_some()) {
            let mut ty = &module.types[var.ty];
            while let TypeInner::Array { base, .. } = ty.inner {
                ty = &module.types[base];
            }
            let TypeInner::Struct { members, span } = &ty.inner else { continue };
            let struct_name = ty.name.as_deref().expect("WGSL names its structs");
            has_params |= var.space == AddressSpace::Uniform;
            let Some(host) = host_layout(shader, struct_name) else { continue };
            let members = members.iter().map(|member| {
                let member_name = member.name.clone().expect("WGSL names its members");
                let ty = host_type(&module, member.ty)
                    .unwrap_or_else(|| panic!("{name}: {struct_name}.{member_name} has a type with no twin"));
                (member_name, ty, member.offset)
            });
            assert_eq!(Layout::new(members, *span), host, "{name}: {struct_name}, WGSL left, host right");
        }
        assert!(has_params, "{name} has no Params at binding 0");
    }
}
