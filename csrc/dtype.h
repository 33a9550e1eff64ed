// The element types that every op takes, named without torch so that the CPU loops need no torch header.
#pragma once

namespace gankit {
enum class DType { f32, f64, bf16, f16 };
}
