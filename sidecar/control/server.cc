#include "sidecar/control/server.h"

#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "sidecar/base/fd.h"
#include "sidecar/base/file.h"
#include "sidecar/base/log.h"
#include "sidecar/base/time.h"
#include "sidecar/control/poll_thread.h"
#include "sidecar/control/wire.h"

namespace nacelle::control {
namespace {

bool own_user_or_root(uid_t uid) { return uid == 0 || uid == ::geteuid(); }

struct File {
  dev_t device = 0;
  ino_t inode = 0;
};
// A listening socket and the file it has in the file system.
struct Listener {
  base::Fd fd;
  File file;
};

base::Error refused(const std::string& path, const std::string& why) {
  return {base::Code::kUnavailable,
          "cannot listen at " + path + ": " + why + " (option control.socket)"};
}

// Binds to a temporary name beside `path`, then renames it over `path`: clients find the old socket
// or the new one, never none.
base::Result<Listener> listen_at(const std::string& path, int backlog) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
  std::uint32_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) {
    return refused(path, base::errno_text(errno));
  }
  char name[16];
  std::snprintf(name, sizeof name, "/.%08x", random);
  const std::string temporary = folder + name;

  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t longest = std::max(path.size(), temporary.size());
  if (path.empty() || longest >= sizeof address.sun_path) {
    return base::Error{base::Code::kInvalid,
                       "cannot listen at " + path + ": the path of a socket has 1 to " +
                           std::to_string(sizeof address.sun_path - 1) + " bytes, this has " +
                           std::to_string(longest) + " (option control.socket)"};
  }
  std::memcpy(address.sun_path, temporary.data(), temporary.size());

  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && !S_ISSOCK(status.st_mode)) {
    return base::Error{base::Code::kInvalid,
                       "cannot listen at " + path +
                           ": a file that is not a socket has that name; " +
                           "move it away or choose another path (option control.socket)"};
  }
  Listener listener;
  listener.fd.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.fd) return refused(path, base::errno_text(errno));
  // Linux gives the file the mode of the socket: there is no moment in which others could connect.
  if (::fchmod(listener.fd.get(), S_IRUSR | S_IWUSR) != 0) {
    return refused(path, base::errno_text(errno));
  }
  if (::bind(listener.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    return refused(path, error == ENOENT
                             ? "the directory " + folder + " does not exist; create it"
                             : "in the directory " + folder + ": " + base::errno_text(error));
  }
  if (::lstat(temporary.c_str(), &status) != 0 || ::listen(listener.fd.get(), backlog) != 0 ||
      ::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    return refused(path, base::errno_text(error));
  }
  listener.file = {status.st_dev, status.st_ino};
  return listener;
}

struct Connection {
  base::Fd fd;
  base::Nanos deadline = 0;  // for the next whole line, or for taking the answer
  std::string in;            // at most kQuestionMax bytes
  std::string out;           // what is left to write; no line is read while there is something
  int pass = -1;             // a descriptor that goes with the first byte of `out`; not ours
  bool closing = false;      // close when `out` is written

  // A whole line waits although the socket may have nothing to read.
  [[nodiscard]] bool has_line() const {
    return out.empty() && !closing && in.find('\n') != std::string::npos;
  }
};

}  // namespace

class Server::Loop {
 public:
  Loop(ServerOptions options, std::vector<Verb> verbs, const File& file, PollThread thread)
      : options_(std::move(options)),
        verbs_(std::move(verbs)),
        file_(file),
        thread_(std::move(thread)) {
    if (!options_.allow_uid) options_.allow_uid = own_user_or_root;
    thread_.start([this] { run(); });
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  ~Loop() {
    thread_.stop();
    struct stat status {};
    if (::lstat(options_.path.c_str(), &status) == 0 && status.st_dev == file_.device &&
        status.st_ino == file_.inode) {
      ::unlink(options_.path.c_str());
    }
  }

 private:
  void run() {
    while (wait()) {
      const base::Nanos now = base::now_ns();
      // accept() only appends, remove_done() comes last.
      for (std::size_t i = 0; i < thread_.size(); ++i) {
        serve(connections_[i], thread_.events(i), now);
      }
      accept(now);
      remove_done(now);
    }
  }

  // Until something is ready or the nearest deadline. False: the end.
  bool wait() {
    base::Nanos until = base::kNever;
    thread_.begin();
    for (const Connection& connection : connections_) {
      until = connection.has_line() ? 0 : std::min(until, connection.deadline);
      thread_.add(connection.fd.get(), connection.out.empty() ? POLLIN : POLLOUT);
    }
    return thread_.wait(until);
  }

  void accept(base::Nanos now) {
    base::Fd fd = thread_.accept();
    if (!fd) return;
    ucred peer{};
    socklen_t size = sizeof peer;
    const bool known = ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    if (!known || !options_.allow_uid(peer.uid)) {
      base::log_warn("control connection refused", {{"uid", peer.uid}});
      dismiss(fd, {base::Code::kDenied,
                   "user " + std::to_string(peer.uid) +
                       " may not control this sidecar; run as root or as its user"});
      return;
    }
    if (connections_.size() >= options_.connections_max) {
      dismiss(fd, {base::Code::kBusy, "all " + std::to_string(options_.connections_max) +
                                          " control connections are in use; try again, or raise "
                                          "control.connections_max"});
      return;
    }
    Connection connection;
    connection.fd = std::move(fd);
    connection.deadline = now + options_.idle_timeout_ms * base::kMillisecond;
    connections_.push_back(std::move(connection));
  }

  // Says why, as far as the fresh socket's buffer takes it, which is always enough. The close
  // follows from the destructor.
  static void dismiss(const base::Fd& fd, const base::Error& why) {
    const std::string line = answer_line(why);
    [[maybe_unused]] const ssize_t sent =
        ::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  void serve(Connection& connection, short revents, base::Nanos now) {
    if (connection.out.empty() && !connection.has_line() && revents != 0) receive(connection);
    if (connection.has_line()) {
      const std::size_t end = connection.in.find('\n');
      answer(connection, std::string_view(connection.in).substr(0, end), now);
      connection.in.erase(0, end + 1);
    }
    if (!connection.out.empty()) send(connection, now);
  }

  void answer(Connection& connection, std::string_view line, base::Nanos now) {
    connection.out = answer_to(line, verbs_, &connection.pass);
    connection.deadline = now + options_.write_timeout_ms * base::kMillisecond;
  }

  // Called when no whole line waits in `in`, so there is room for at least one byte.
  void receive(Connection& connection) {
    char chunk[16 << 10];
    const std::size_t room = kQuestionMax - connection.in.size();
    const ssize_t count = ::recv(connection.fd.get(), chunk, std::min(room, sizeof chunk), 0);
    if (count < 0) {
      if (errno != EAGAIN && errno != EINTR) give_up(connection);
      return;
    }
    if (count == 0) {
      // The other side is done writing. What it wrote last may lack its '\n'.
      if (!connection.in.empty()) answer(connection, connection.in, base::now_ns());
      connection.in.clear();
      connection.closing = true;
      return;
    }
    connection.in.append(chunk, static_cast<std::size_t>(count));
    const bool full = connection.in.size() == kQuestionMax;
    if (full && connection.in.find('\n') == std::string::npos) {
      connection.in.clear();
      connection.out = answer_line(base::Error{
          base::Code::kTooLarge, "a line has at most " + std::to_string(kQuestionMax) + " bytes"});
      connection.deadline = base::now_ns() + options_.write_timeout_ms * base::kMillisecond;
      connection.closing = true;
    }
  }

  void send(Connection& connection, base::Nanos now) {
    const ssize_t count = send_with(connection.fd.get(), connection.out, connection.pass);
    if (count < 0) {
      if (errno != EAGAIN && errno != EINTR) give_up(connection);
      return;
    }
    connection.pass = -1;
    connection.out.erase(0, static_cast<std::size_t>(count));
    if (connection.out.empty()) {
      connection.deadline = now + options_.idle_timeout_ms * base::kMillisecond;
    }
  }

  // Nothing more to write: remove_done() closes it.
  static void give_up(Connection& connection) {
    connection.out.clear();
    connection.in.clear();
    connection.closing = true;
  }

  void remove_done(base::Nanos now) {
    std::erase_if(connections_, [now](const Connection& connection) {
      return (connection.closing && connection.out.empty()) || connection.deadline <= now;
    });
  }

  ServerOptions options_;
  std::vector<Verb> verbs_;
  File file_;
  std::vector<Connection> connections_;  // at most connections_max; of the thread
  PollThread thread_;
};

base::Result<std::unique_ptr<Server>> Server::start(ServerOptions options,
                                                    std::vector<Verb> verbs) {
  auto listener = listen_at(options.path, static_cast<int>(options.connections_max));
  if (!listener) return listener.error();
  auto thread = PollThread::of(std::move(listener->fd));
  if (!thread) return refused(options.path, thread.error().message);
  auto loop = std::make_unique<Loop>(std::move(options), std::move(verbs), listener->file,
                                     *std::move(thread));
  return std::unique_ptr<Server>(new Server(std::move(loop)));
}

Server::Server(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
Server::~Server() = default;

}  // namespace nacelle::control
