# A lab in a container: the page and the API are on 127.0.0.1:8080 of the container's network.
#
#   docker build -t sdl --build-arg SDL_VERSION=0.2.0 .
#   docker run --rm --network host -v "$PWD/lab:/lab" sdl          the page: http://127.0.0.1:8080
#   docker run --rm -v "$PWD:/lab" sdl sdl run my.yaml             any other command
#
# /lab holds lab.yaml, the campaigns and, below runs/, the records; it must be writable for the user 1000. A device needs
# --device (serial, USB). On SIGTERM campaigns are interrupted and instruments switched off; give it time: docker stop -t 60.
# Every step was tried one by one on Debian; the image itself was not built by us.
FROM python:3.12-slim AS build
ARG SDL_VERSION=0.2.0.dev0
ENV SETUPTOOLS_SCM_PRETEND_VERSION_FOR_SDL_ORCHESTRATOR=${SDL_VERSION}
WORKDIR /source
COPY . .
RUN python -m venv /usr/local/sdl \
 && /usr/local/sdl/bin/python -m pip install --no-cache-dir -c constraints.txt '.[lab,web]'

FROM python:3.12-slim
COPY --from=build /usr/local/sdl /usr/local/sdl
RUN useradd --uid 1000 --create-home sdl && install -d -o sdl -g sdl /lab
ENV PATH=/usr/local/sdl/bin:$PATH PYTHONUNBUFFERED=1
USER sdl
WORKDIR /lab
VOLUME /lab
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s CMD ["sdl", "lab", "status", "--lab", "lab.yaml"]
CMD ["sdl", "lab", "run", "lab.yaml", "--port", "8080"]
