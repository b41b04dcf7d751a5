// Loaded before the engine where it is kept: all engines get the same GPU device, which keeps what was compiled on it.
const { requestDevice } = GPUAdapter.prototype;
const { createComputePipeline } = GPUDevice.prototype;
let device;
const pipelines = [];

GPUAdapter.prototype.requestDevice = async function (descriptor) {
  if (device) return device;
  device = await requestDevice.call(this, descriptor);
  device.lost.then(() => (device = undefined));
  return device;
};

// The browser gives a pipeline again for the same shader as long as somebody holds it.
GPUDevice.prototype.createComputePipeline = function (descriptor) {
  const pipeline = createComputePipeline.call(this, descriptor);
  pipelines.push(pipeline);
  return pipeline;
};

// The engine's module begins one for the worker that it takes this for.
self.postMessage = () => {};
