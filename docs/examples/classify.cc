// Labels the arguments: c++ -std=c++20 classify.cc $(pkg-config --cflags --libs nacelle-client)
#include <nacelle/shm/client.h>

#include <cstdio>
#include <string_view>
#include <vector>

int main(int argc, char** argv) {
  const std::vector<std::string_view> texts(argv + 1, argv + argc);
  const auto client = nacelle::Client::connect();
  if (!client) return std::fprintf(stderr, "%s\n", client.error().message.c_str()), 1;
  const auto labels = (*client)->classify("sentiment", texts);
  if (!labels) return std::fprintf(stderr, "%s\n", labels.error().message.c_str()), 1;
  for (const auto& found : *labels) std::printf("%s %.3f\n", found.label.c_str(), found.score);
}
