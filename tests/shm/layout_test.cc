// The layout, pinned: a change of any number here is a change of the protocol, and needs a new
// version in layout.h and in docs/formats/shm.md.
#include "shm/layout.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "shm/carry.h"

namespace nacelle::shm {
namespace {

TEST(Layout, RegionsOfTheDefaultGeometryAreWhereTheDocumentSays) {
  const Geometry geometry;
  EXPECT_EQ(geometry.request_arena_offset(), 20'480U);
  EXPECT_EQ(geometry.request_region_size(), 2'117'632U);
  EXPECT_EQ(geometry.reply_arena_offset(), 20'480U);
  EXPECT_EQ(geometry.reply_region_size(), 4'214'784U);
}

TEST(Layout, ARowListStartsItsRowsOnACacheLine) {
  EXPECT_EQ(rows_offset(1), 64U);
  EXPECT_EQ(rows_offset(4), 64U);
  EXPECT_EQ(rows_offset(5), 128U);
  EXPECT_EQ(row_list_size(2, 384 * 4, false), 64U + 2 * 384 * 4);
  EXPECT_EQ(rows_offset(3, true), 64U) << "the format is as long as a report";
  EXPECT_EQ(rows_offset(4, true), 128U);
  EXPECT_EQ(row_list_size(4, 48, true), 128U + 4 * 48);
}

TEST(Layout, ARowIsAsLongAsItsNumbers) {
  EXPECT_EQ(row_size(Element::kFloat32, 384), 1536U);
  EXPECT_EQ(row_size(Element::kFloat16, 384), 768U);
  EXPECT_EQ(row_size(Element::kInt8, 384), 384U);
  EXPECT_EQ(row_size(Element::kBinary, 384), 48U);
  EXPECT_EQ(row_size(Element::kUbinary, 384), 48U);
}

// The document has one table row per field: | `offset` | size | `name` | ...
TEST(Layout, TheDocumentNamesEveryFieldAtItsOffset) {
  std::ifstream file(NACELLE_SOURCE_DIR "/docs/formats/shm.md");
  std::stringstream text;
  text << file.rdbuf();
  struct Row {
    const char* name;
    std::size_t offset;
  };
  const Row rows[] = {
      {"RequestHeader.slots_used", offsetof(RequestHeader, slots_used)},
      {"RequestSlot.generation", offsetof(RequestSlot, generation)},
      {"RequestSlot.op", offsetof(RequestSlot, op)},
      {"RequestSlot.flags", offsetof(RequestSlot, flags)},
      {"RequestSlot.service", offsetof(RequestSlot, service)},
      {"RequestSlot.items", offsetof(RequestSlot, items)},
      {"RequestSlot.payload_size", offsetof(RequestSlot, payload_size)},
      {"RequestSlot.payload_offset", offsetof(RequestSlot, payload_offset)},
      {"RequestSlot.deadline_us", offsetof(RequestSlot, deadline_us)},
      {"RequestSlot.trace", offsetof(RequestSlot, trace)},
      {"RequestSlot.priority", offsetof(RequestSlot, priority)},
      {"RequestSlot.consumed", offsetof(RequestSlot, consumed)},
      {"RequestSlot.released", offsetof(RequestSlot, released)},
      {"RequestSlot.cancel", offsetof(RequestSlot, cancel)},
      {"RequestSlot.waiting", offsetof(RequestSlot, waiting)},
      {"RequestSlot.payload", offsetof(RequestSlot, payload)},
      {"ReplyHeader.magic", offsetof(ReplyHeader, magic)},
      {"ReplyHeader.version_major", offsetof(ReplyHeader, version_major)},
      {"ReplyHeader.version_minor", offsetof(ReplyHeader, version_minor)},
      {"ReplyHeader.header_size", offsetof(ReplyHeader, header_size)},
      {"ReplyHeader.features", offsetof(ReplyHeader, features)},
      {"ReplyHeader.epoch", offsetof(ReplyHeader, epoch)},
      {"ReplyHeader.slots", offsetof(ReplyHeader, slots)},
      {"ReplyHeader.request_slot_size", offsetof(ReplyHeader, request_slot_size)},
      {"ReplyHeader.reply_slot_size", offsetof(ReplyHeader, reply_slot_size)},
      {"ReplyHeader.request_slots_offset", offsetof(ReplyHeader, request_slots_offset)},
      {"ReplyHeader.reply_slots_offset", offsetof(ReplyHeader, reply_slots_offset)},
      {"ReplyHeader.request_arena_offset", offsetof(ReplyHeader, request_arena_offset)},
      {"ReplyHeader.request_arena_size", offsetof(ReplyHeader, request_arena_size)},
      {"ReplyHeader.reply_arena_offset", offsetof(ReplyHeader, reply_arena_offset)},
      {"ReplyHeader.reply_arena_size", offsetof(ReplyHeader, reply_arena_size)},
      {"ReplyHeader.items_max", offsetof(ReplyHeader, items_max)},
      {"ReplyHeader.text_bytes_max", offsetof(ReplyHeader, text_bytes_max)},
      {"ReplyHeader.deadline_default_us", offsetof(ReplyHeader, deadline_default_us)},
      {"ReplyHeader.stream_ring_size", offsetof(ReplyHeader, stream_ring_size)},
      {"ReplyHeader.asleep", offsetof(ReplyHeader, asleep)},
      {"ReplySlot.generation", offsetof(ReplySlot, generation)},
      {"ReplySlot.code", offsetof(ReplySlot, code)},
      {"ReplySlot.flags", offsetof(ReplySlot, flags)},
      {"ReplySlot.items", offsetof(ReplySlot, items)},
      {"ReplySlot.payload_size", offsetof(ReplySlot, payload_size)},
      {"ReplySlot.payload_offset", offsetof(ReplySlot, payload_offset)},
      {"ReplySlot.queue_us", offsetof(ReplySlot, queue_us)},
      {"ReplySlot.compute_us", offsetof(ReplySlot, compute_us)},
      {"ReplySlot.batch_texts", offsetof(ReplySlot, batch_texts)},
      {"ReplySlot.batch_clients", offsetof(ReplySlot, batch_clients)},
      {"ReplySlot.retry_after_us", offsetof(ReplySlot, retry_after_us)},
      {"ReplySlot.woken", offsetof(ReplySlot, woken)},
      {"ReplySlot.progress", offsetof(ReplySlot, progress)},
      {"ReplySlot.produced", offsetof(ReplySlot, produced)},
      {"ReplySlot.stalled", offsetof(ReplySlot, stalled)},
      {"ReplySlot.stream_offset", offsetof(ReplySlot, stream_offset)},
      {"ReplySlot.payload", offsetof(ReplySlot, payload)},
      {"PingStream.pieces", offsetof(PingStream, pieces)},
      {"PingStream.piece_bytes", offsetof(PingStream, piece_bytes)},
      {"PingStream.interval_us", offsetof(PingStream, interval_us)},
      {"PieceHeader.size", offsetof(PieceHeader, size)},
      {"CarryHeader.kind", offsetof(CarryHeader, kind)},
      {"CarryHeader.offset", offsetof(CarryHeader, offset)},
      {"CarryHeader.value", offsetof(CarryHeader, value)},
      {"ItemReport.code", offsetof(ItemReport, code)},
      {"ItemReport.flags", offsetof(ItemReport, flags)},
      {"ItemReport.tokens", offsetof(ItemReport, tokens)},
      {"ItemReport.detail", offsetof(ItemReport, detail)},
      {"ItemReport.tokens_total", offsetof(ItemReport, tokens_total)},
      {"Parameters.element", offsetof(Parameters, element)},
      {"Parameters.normalize", offsetof(Parameters, normalize)},
      {"Parameters.function", offsetof(Parameters, function)},
      {"Parameters.long_input", offsetof(Parameters, long_input)},
      {"Parameters.prompt", offsetof(Parameters, prompt)},
      {"Parameters.dimensions", offsetof(Parameters, dimensions)},
      {"Parameters.prompt_size", offsetof(Parameters, prompt_size)},
      {"RowFormat.width", offsetof(RowFormat, width)},
      {"RowFormat.row_size", offsetof(RowFormat, row_size)},
      {"RowFormat.element", offsetof(RowFormat, element)},
      {"Description.service", offsetof(Description, service)},
      {"Description.embed_width", offsetof(Description, embed_width)},
      {"Description.labels", offsetof(Description, labels)},
      {"Description.tokens_max", offsetof(Description, tokens_max)},
      {"Description.multi_label", offsetof(Description, multi_label)},
      {"Description.ops", offsetof(Description, ops)},
      {"Description.long_input", offsetof(Description, long_input)},
      {"Description.prompts", offsetof(Description, prompts)},
      {"Description.windows_max", offsetof(Description, windows_max)},
      {"Description.digest", offsetof(Description, digest)},
      {"Description.architecture", offsetof(Description, architecture)},
      {"DescribedCache.answers", offsetof(DescribedCache, answers)},
      {"DescribedCache.domain", offsetof(DescribedCache, domain)},
      {"DescribedCache.mode", offsetof(DescribedCache, mode)},
      {"DescribedCache.ttl_s", offsetof(DescribedCache, ttl_s)},
  };
  for (const Row& row : rows) {
    const std::string name = row.name;
    const std::string field = name.substr(name.find('.') + 1);
    const std::size_t section = text.str().find("### " + name.substr(0, name.find('.')));
    ASSERT_NE(section, std::string::npos) << name;
    const std::string wanted = "| " + std::to_string(row.offset) + " | ";
    const std::size_t line = text.str().find("| `" + field + "` |", section);
    ASSERT_NE(line, std::string::npos) << name;
    const std::size_t start = text.str().rfind('\n', line) + 1;
    EXPECT_EQ(text.str().substr(start, wanted.size()), wanted) << name;
  }
}

}  // namespace
}  // namespace nacelle::shm
