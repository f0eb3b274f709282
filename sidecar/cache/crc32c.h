// CRC-32C, the checksum of everything in the journal (Castagnoli's polynomial; RFC 3720, B.4).
//
// Chosen since processors compute it: 8 bytes in 3 cycles, more than a disk or a copy from the page
// cache gives. It finds every error of up to 32 bits in a row, and misses other damage once in
// 2^32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nacelle::cache {

// Of `bytes`, continued from `crc`: crc32c(ab) == crc32c(b, crc32c(a)). Begin with 0.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t crc = 0);

// The same by a table, on any machine.
std::uint32_t crc32c_table(std::span<const std::byte> bytes, std::uint32_t crc = 0);

// Whether crc32c() uses the processor's instruction here.
bool crc32c_in_hardware();

}  // namespace nacelle::cache
