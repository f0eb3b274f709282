// Fuzzes both directions of the handshake. The input's first byte says which: a hello that the
// sidecar reads, or a welcome with regions that a client library believes as far as it must: the
// table of offsets, and then replies.
#include <sys/mman.h>
#include <sys/socket.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "shm/connection.h"
#include "shm/handshake.h"
#include "shm/link.h"
#include "shm/region.h"
#include "sidecar/base/check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/raw_client.h"
#include "tests/support/temp_dir.h"

namespace nacelle::fuzz {
namespace {

constexpr shm::Geometry kGeometry{.slots = 4, .request_arena_size = 4096, .reply_arena_size = 4096};

void read_hello(Input& input) {
  int ends[2];
  CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  const base::Fd client(ends[0]);
  base::Fd sidecar(ends[1]);
  // A right one, overwritten by the input from somewhere on; or the input as it is.
  shm::Hello hello;
  if (input.take<std::uint8_t>() % 2 == 0) {
    const std::size_t from = input.take<std::uint8_t>() % sizeof hello;
    input.fill(reinterpret_cast<std::byte*>(&hello) + from, sizeof hello - from);
    CHECK(testing::say(client.get(), hello));
  } else {
    std::vector<std::byte> bytes(input.left());
    input.fill(bytes.data(), bytes.size());
    if (!testing::say(client.get(), bytes.data(), bytes.size())) return;
  }
  const base::Result<std::optional<shm::Hello>> read = shm::read_hello(sidecar.get());
  if (!read) return shm::send_refusal(sidecar.get(), read.error());
  if (!*read) return;
  CHECK((*read)->magic == shm::kHelloMagic && (*read)->version_major == shm::kVersionMajor);
  const auto connection = shm::Connection::open(std::move(sidecar), shm::Peer{}, **read, kGeometry,
                                                shm::Limits{}, 1, 1);
  CHECK(connection.has_value());
  for (const char c : (*connection)->name()) CHECK(c >= 0x20 && c <= 0x7e);
}

// The sidecar that lies: its welcome and its reply region come from the input.
struct Lies {
  shm::Welcome welcome;
  base::Fd request;
  base::Fd reply;
  base::Fd doorbell;
  int descriptors = 3;
};

std::size_t reply_size() { return kGeometry.reply_region_size(); }

Lies lies_from(Input& input) {
  Lies lies;
  lies.request = *shm::create_region("fuzz", kGeometry.request_region_size());
  lies.reply = *shm::create_region("fuzz", reply_size());
  lies.doorbell = *shm::create_region("fuzz", 4096);
  const base::Result<shm::Mapping> map =
      shm::Mapping::map(lies.reply.get(), reply_size(), shm::Access::kReadWrite);
  CHECK(map.has_value());
  // A right header, as a connection writes it.
  auto* header = new (map->data()) shm::ReplyHeader{};
  std::memcpy(header->magic, shm::kMagic, sizeof shm::kMagic);
  header->version_major = shm::kVersionMajor;
  header->header_size = sizeof(shm::ReplyHeader);
  header->slots = kGeometry.slots;
  header->request_slot_size = sizeof(shm::RequestSlot);
  header->reply_slot_size = sizeof(shm::ReplySlot);
  header->request_slots_offset = sizeof(shm::RequestHeader);
  header->reply_slots_offset = sizeof(shm::ReplyHeader);
  header->request_arena_offset = kGeometry.request_arena_offset();
  header->request_arena_size = kGeometry.request_arena_size;
  header->reply_arena_offset = kGeometry.reply_arena_offset();
  header->reply_arena_size = kGeometry.reply_arena_size;
  header->items_max = 64;
  header->text_bytes_max = 1024;
  lies.welcome.request_region_size = kGeometry.request_region_size();
  lies.welcome.reply_region_size = reply_size();
  // Then the lies: bytes over any of it.
  for (int count = input.take<std::uint8_t>() % 8; count > 0; --count) {
    const auto target = input.take<std::uint8_t>();
    const auto at = input.take<std::uint16_t>();
    const std::size_t size = input.take<std::uint8_t>() % 9;
    std::byte bytes[8] = {};
    input.fill(bytes, size < 8 ? size : 8);
    std::byte* const into = target % 4 == 0   ? reinterpret_cast<std::byte*>(&lies.welcome)
                            : target % 4 == 1 ? map->data() + 32  // the table of offsets
                                              : map->data();
    const std::size_t room = target % 4 == 0 ? sizeof lies.welcome : target % 4 == 1 ? 48 : 2048;
    for (std::size_t i = 0; i < size && i < 8; ++i) into[(at + i) % room] = bytes[i];
  }
  const auto more = input.take<std::uint8_t>();
  if (more < 16) lies.descriptors = more % 4;
  return lies;
}

// Uses the link as a client would, with replies that are there already.
void use(shm::Link& link) {
  std::uint64_t sum = 0;
  for (int call = 0; call < 3; ++call) {
    const auto ticket = link.submit(
        {.op = shm::Op::kEmbed, .items = 1}, call == 1 ? 200 : 8, base::now_ns() + 1000,
        [](std::span<std::byte> out) { std::fill(out.begin(), out.end(), std::byte{1}); });
    if (!ticket) continue;
    const base::Result<shm::Answer> answer = link.wait(*ticket);
    if (!answer) continue;
    for (const std::byte byte : answer->payload) sum += std::to_integer<unsigned>(byte);
    link.finish(*ticket);
  }
  CHECK(sum < UINT64_MAX);
}

void believe_welcome(Input& input) {
  static const testing::TempDir dir;
  const std::string path = dir / "s";
  static const shm::Listener listener = *shm::Listener::listen(path);
  Lies lies = lies_from(input);
  std::thread client([&path] {
    const auto link = shm::Link::open(path, shm::Hello{}, base::now_ns() + 20 * base::kSecond);
    if (link) use(**link);
  });
  CHECK(testing::readable(listener.fd()));
  base::Fd socket = listener.accept();
  CHECK(socket);
  const int fds[] = {lies.request.get(), lies.reply.get(), lies.doorbell.get()};
  CHECK(testing::say(socket.get(), &lies.welcome,
                     input.take<std::uint8_t>() == 255 ? 100 : sizeof lies.welcome,
                     {fds, static_cast<std::size_t>(lies.descriptors)}));
  socket.reset();
  client.join();
}

}  // namespace
}  // namespace nacelle::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  nacelle::fuzz::Input input(data, size);
  if (input.take<std::uint8_t>() % 2 == 0) {
    nacelle::fuzz::read_hello(input);
  } else {
    nacelle::fuzz::believe_welcome(input);
  }
  return 0;
}
