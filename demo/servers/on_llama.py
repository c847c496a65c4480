"""llama.cpp's HTTP server over a tiny language model with random weights: OpenAI's JSON and server-sent events.

The model knows some words of the theatre and no grammar; it is here for its protocol, its tokenizer and its pace.
Run by the environment of llama.lock: `python -m demo.servers.on_llama --seed 7 --port 9001`.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

WIDTH, HEADS, FEED_FORWARD, CONTEXT = 64, 4, 128, 2048
SLOTS = 4  # sequences that are computed at the same time
SPECIAL = ("<unk>", "<s>", "</s>")
TEXT = (
    "a act actor actress again aisle all and applause apron as audience backdrop balcony before bow box brief "
    "call cast chorus circle close comedy cue curtain dance dark director do drama dress each encore enter exit "
    "farce fly follow foyer gallery glow go green hall hush in interval it joke lamp light line loud make mask "
    "mime monologue night no note of on one open opera orchestra over page part pause pit play plot prologue "
    "prompt prop quiet read rehearse rise role row run say scene score script seat set she show silence sing slow "
    "soft song speak spot stage stand star step still street swift tale tear that the then they to tragedy trap "
    "under understudy verse voice wait wake walk wardrobe watch when whisper whole wing with word yes you "
)
WORDS = TEXT.split()


def tokens() -> tuple[list[str], list[float], list[int]]:
    """(texts, scores, types) of a vocabulary: three specials, every byte, and the words."""
    kind = gguf.TokenType
    texts = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *(f"\u2581{word}" for word in WORDS)]
    types = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256, *[kind.NORMAL] * len(WORDS)]
    return texts, [-float(i) for i in range(len(texts))], [int(each) for each in types]


def write_model(path: Path, *, seed: int, layers: int) -> None:
    """Write a GGUF file with random weights; the same seed writes the same model."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    texts, scores, types = tokens()
    writer.add_tokenizer_model("llama")
    writer.add_token_list(texts)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}\n{% endfor %}")
    for name, tensor in weights(len(texts), seed, layers).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def weights(vocabulary: int, seed: int, layers: int) -> dict[str, np.ndarray]:
    """Every tensor of the model. The output rows of specials and bytes are zero, so that only words are spoken."""
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    ones = np.ones(WIDTH, dtype=np.float32)
    output = matrix(vocabulary, WIDTH)
    output[: vocabulary - len(WORDS)] = 0
    tensors = {"token_embd.weight": matrix(vocabulary, WIDTH), "output_norm.weight": ones, "output.weight": output}
    for layer in range(layers):
        tensors |= {f"blk.{layer}.attn_norm.weight": ones, f"blk.{layer}.ffn_norm.weight": ones}
        tensors |= {f"blk.{layer}.attn_{part}.weight": matrix(WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
        tensors |= {f"blk.{layer}.ffn_{part}.weight": matrix(FEED_FORWARD, WIDTH) for part in ("gate", "up")}
        tensors[f"blk.{layer}.ffn_down.weight"] = matrix(WIDTH, FEED_FORWARD)
    return tensors


def serve(model: Path, port: int) -> xllamacpp.Server:
    """Start llama.cpp's server on this port of 127.0.0.1; it serves from threads of its own."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {"tiny"}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = SLOTS * CONTEXT
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = 1
    params.endpoint_metrics = True
    return xllamacpp.Server(params)


def main() -> None:
    """Write the model, then serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m demo.servers.on_llama")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--layers", type=int, default=2, help="more of them are slower")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "tiny.gguf"
        write_model(model, seed=options.seed, layers=options.layers)
        server = serve(model, options.port)
        print(f"ready {server.listening_address}", flush=True)
        signal.sigwait(stop)


if __name__ == "__main__":
    main()
