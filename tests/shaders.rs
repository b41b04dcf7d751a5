//! Every kernel and variant as a browser takes it: valid WGSL under WebGPU's default limits, bound
//! as the recorder binds. Needs no GPU.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ResourceBinding, TypeInner};
use tabtune::kernels::shaders;

/// WebGPU's default limits (section 3.6.2 of its specification), which every adapter grants.
const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_WORKGROUP_BYTES: u32 = 16 * 1024;
/// What the shaders that no browser gets may take.
const MAX_NATIVE_WORKGROUP_BYTES: u32 = 32 * 1024;
const MAX_INVOCATIONS: u32 = 256;
const MAX_WORKGROUP_SIZE: [u32; 3] = [256, 256, 64];

/// Every shader by name, parsed.
fn modules() -> impl Iterator<Item = (&'static str, Module)> {
    assert_ne!(shaders::all().count(), 0, "there are no shaders");
    shaders::all().map(|(name, text)| {
        let module = naga::front::wgsl::parse_str(&text)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&text)));
        (name, module)
    })
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
        let text = shaders::text(name).expect("names are sorted, so a search finds each");
        validator.validate(&module).unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&text)));
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
