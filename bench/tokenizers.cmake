# tokenizers_timer: the process that bench/tokenizers.py starts, so its name does not begin with
# bench_.
nacelle_program(tokenizers_timer tokenizers_timer.cc)
target_link_libraries(tokenizers_timer PRIVATE nacelle_tokenizer)
