// What tests/browser/kept/device.js is in Chromium: all engines of a worker get the same GPU device. Firefox compiles a pipeline anew
// whenever it is made, so here they get the same pipelines too: each is known by its shader, its layout and its constants.
const { requestDevice } = GPUAdapter.prototype;
const { createComputePipeline } = GPUDevice.prototype;
let device;
const pipelines = new Map();

GPUAdapter.prototype.requestDevice = async function (descriptor) {
  if (device) return device;
  device = await requestDevice.call(this, descriptor);
  device.lost.then(() => {
    device = undefined;
    pipelines.clear();
  });
  return device;
};

/** What a device has made, as text. */
const texts = new WeakMap();
const TEXTS = {
  createShaderModule: ({ code }) => code,
  createBindGroupLayout: ({ entries }) => JSON.stringify(entries),
  createPipelineLayout: ({ bindGroupLayouts }) => JSON.stringify(Array.from(bindGroupLayouts, (layout) => texts.get(layout))),
};
for (const [name, textOf] of Object.entries(TEXTS)) {
  const make = GPUDevice.prototype[name];
  GPUDevice.prototype[name] = function (descriptor) {
    const made = make.call(this, descriptor);
    texts.set(made, textOf(descriptor));
    return made;
  };
}

GPUDevice.prototype.createComputePipeline = function (descriptor) {
  const { module, entryPoint, constants } = descriptor.compute;
  const key = JSON.stringify([texts.get(module), texts.get(descriptor.layout), entryPoint, constants]);
  if (!pipelines.has(key)) pipelines.set(key, createComputePipeline.call(this, descriptor));
  return pipelines.get(key);
};

// The engine's module begins one for the worker that it takes this for.
self.postMessage = () => {};
