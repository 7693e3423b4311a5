FROM python:3.11-slim

# What the page needs. Training needs torch too, which is larger than all else together.
COPY requirements.txt /tmp/
RUN sed '/^# Training only/,$d' /tmp/requirements.txt > /tmp/page.txt \
    && pip install --no-cache-dir -r /tmp/page.txt

RUN useradd --create-home --uid 1000 upfront
USER upfront
WORKDIR /home/upfront/app
COPY --chown=upfront . .

ENV GRADIO_SERVER_NAME=0.0.0.0 PYTHONUNBUFFERED=1 \
    GRADIO_ANALYTICS_ENABLED=False HF_HUB_DISABLE_TELEMETRY=1 ORT_DISABLE_TELEMETRY=1
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["python", "app.py"]
