"""Ask with NVIDIA's own client, which sends and expects binary tensors. Run by the environment of mlserver.lock."""

from __future__ import annotations

import json
import sys

import numpy as np
import tritonclient.http as triton


def main(address: str) -> None:
    """Print what the server said about one flower of each species."""
    client = triton.InferenceServerClient(address)
    flowers = np.array([[5.1, 3.5, 1.4, 0.2], [5.7, 2.8, 4.1, 1.3], [6.3, 3.3, 6.0, 2.5]])
    tensor = triton.InferInput("flowers", list(flowers.shape), "FP64")
    tensor.set_data_from_numpy(flowers, binary_data=True)
    result = client.infer("iris", [tensor], outputs=[triton.InferRequestedOutput("species", binary_data=True)])
    said = {
        "live": client.is_server_live(),
        "ready": client.is_model_ready("iris"),
        "species": result.as_numpy("species").tolist(),
    }
    client.close()
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1])
