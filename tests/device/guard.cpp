// What PyTorch asks of a CUDA driver before it differentiates, answered without one.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

using namespace c10;

struct Guard final : impl::DeviceGuardImplInterface {
  DeviceType type() const override { return DeviceType::CUDA; }
  DeviceIndex deviceCount() const noexcept override { return 1; }
  Device getDevice() const override { return {DeviceType::CUDA, 0}; }
  Device exchangeDevice(Device) const override { return getDevice(); }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  Stream getStream(Device device) const override { return Stream(Stream::DEFAULT, device); }
  Stream exchangeStream(Stream stream) const override { return getStream(stream.device()); }
};

struct Hooks final : at::CUDAHooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
};

// Called in turns: to answer in place of the driver, and to let it answer again.
extern "C" void exchange() {
  static const impl::DeviceGuardImplInterface* guard = new Guard();
  static Hooks hooks;
  auto& registered = impl::device_guard_impl_registry[static_cast<size_t>(DeviceType::CUDA)];
  guard = registered.exchange(guard);
  // PyTorch looks its hooks up once and keeps them: their tables of functions change places.
  auto& kept = const_cast<at::CUDAHooksInterface&>(at::detail::getCUDAHooks());
  std::swap(reinterpret_cast<void*&>(kept), reinterpret_cast<void*&>(hooks));
}
