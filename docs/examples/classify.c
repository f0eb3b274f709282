/* Labels each argument: cc classify.c $(pkg-config --cflags --libs nacelle) -o classify */
#include <nacelle.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char** argv) {
  nacelle_client* client = NULL;
  nacelle_status status = nacelle_connect(NULL, &client);
  for (int i = 1; i < argc && status == NACELLE_OK; ++i) {
    nacelle_text text = {argv[i], strlen(argv[i])};
    float scores[2]; /* one for each label: nacelle_describe() tells how many there are */
    status = nacelle_classify(client, "sentiment", &text, 1, NULL, scores, 2, NULL, NULL);
    if (status != NACELLE_OK) break;
    char label[64];
    uint32_t best = scores[1] > scores[0];
    status = nacelle_label(client, "sentiment", best, label, sizeof label, NULL);
    if (status == NACELLE_OK) printf("%s %.3f\n", label, scores[best]);
  }
  if (status != NACELLE_OK) fprintf(stderr, "%s\n", nacelle_error());
  nacelle_close(client);
  return status == NACELLE_OK ? 0 : 1;
}
