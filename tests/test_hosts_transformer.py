"""The transformers of text: Llama's block, encoders and decoders, tied heads, masked windows."""

import pytest
import torch

from moebench.contract import Context
from moebench.errors import SuiteError
from moebench.hosts import host_settings
from moebench.hosts.build import build_model
from moebench.hosts.transformer import Block, Seen
from moebench.tasks import Headline, TaskInfo, Tokens
from moevariants.dense import Dense

MODERN = {"norm": "rms", "positions": "rotary", "bias": False, "activation": "swiglu"}


def info(length=11, vocabulary=13, outputs=13, answer=11):
    headline = Headline(name="accuracy", unit="share", higher_is_better=True, floor=0.0)
    inputs = Tokens(length=length, vocabulary=vocabulary, answer=answer)
    return TaskInfo(name="t", inputs=inputs, targets={"token": outputs}, headline=headline, label="t")


def built(name="decoder", task=None, **settings):
    host = host_settings({"name": name, "dim": 16, "heads": 2, **settings})
    return build_model(host, task or info(), Dense(), (9, 9), {}, seed=0)


def ids(seed=0, inputs=3, length=11):
    return torch.randint(13, (inputs, length), generator=torch.Generator().manual_seed(seed))


def test_a_block_is_that_of_llama_weight_by_weight():
    """Outputs and gradients; ours turns neighbouring channels, Llama's the two halves of a head."""
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

    dim, heads, hidden, length = 24, 3, 20, 11
    sizes = {"hidden_size": dim, "num_attention_heads": heads, "num_key_value_heads": heads}
    config = LlamaConfig(**sizes, intermediate_size=hidden, rms_norm_eps=1e-6)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    theirs = LlamaDecoderLayer(config, 0).double()
    settings = host_settings({"name": "decoder", "dim": dim, "heads": heads, "depth": 1, **MODERN})
    model = build_model(settings, info(length), Dense(), (hidden,), {}, seed=0).double()
    ours = model.blocks[0]
    assert isinstance(ours, Block)
    d = dim // heads
    order_d = torch.arange(d).view(2, -1).T.flatten()  # first half and second half take turns
    with torch.no_grad():
        for norm in (theirs.input_layernorm, theirs.post_attention_layernorm):
            norm.weight.uniform_(0.5, 1.5)
        q, k, v = (getattr(theirs.self_attn, f"{name}_proj").weight for name in "qkv")
        turned = [w.view(heads, d, dim)[:, order_d].reshape(dim, dim) for w in (q, k)]
        ours.attention.qkv.weight.copy_(torch.cat([*turned, v]))
        ours.attention.out.weight.copy_(theirs.self_attn.o_proj.weight)
        ours.norm1.weight.copy_(theirs.input_layernorm.weight)
        ours.norm2.weight.copy_(theirs.post_attention_layernorm.weight)
        dense = ours.mlp.layer
        pairs = torch.stack([theirs.mlp.gate_proj.weight, theirs.mlp.up_proj.weight], 1)
        dense.linear_in.weight.copy_(pairs.flatten(0, 1))
        dense.linear_out.weight.copy_(theirs.mlp.down_proj.weight)
    x_BTD = torch.randn(2, length, dim, dtype=torch.float64, requires_grad=True)
    places = torch.arange(length).unsqueeze(0)
    turns = LlamaRotaryEmbedding(config)(x_BTD, places)
    mask_TT = torch.full((length, length), -torch.inf, dtype=torch.float64).triu(1)[None, None]
    their_y = theirs(x_BTD, attention_mask=mask_TT, position_ids=places, position_embeddings=turns)
    their_y = their_y[0] if isinstance(their_y, tuple) else their_y
    our_y = ours(x_BTD, Context())
    torch.testing.assert_close(our_y, their_y, rtol=1e-5, atol=1e-6)
    probe = torch.randn_like(our_y)
    (our_grad,), (their_grad,) = (torch.autograd.grad((y * probe).sum(), x_BTD) for y in (our_y, their_y))
    torch.testing.assert_close(our_grad, their_grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, MODERN, {"positions": "sincos", "tied": True}])
def test_a_decoder_answers_by_what_came_before_and_an_encoder_by_all(settings):
    with torch.no_grad():
        for name, sees in (("decoder", False), ("encoder", True)):
            model = built(name, **settings).eval()
            other = ids()
            other[:, -1] = (other[:, -1] + 1) % 13
            same = torch.isclose(model(ids()).outputs["token"], model(other).outputs["token"]).all(-1).all(0)
            assert bool(same[:-1].all()) != sees
            assert not same[-1]


def test_the_modern_decoder_has_no_biases_and_a_tied_one_no_head():
    names = [name for name, _ in built(**MODERN).named_parameters()]
    assert not [name for name in names if "bias" in name]
    plain, tied = (sum(p.numel() for p in built(tied=tied).parameters()) for tied in (False, True))
    assert plain - tied == 16 * 13


def test_a_tied_head_of_a_masked_task_answers_with_tokens_alone():
    """Its vocabulary has one id more than there are answers: that of a hidden token."""
    model = built("encoder", info(vocabulary=14, outputs=13), tied=True)
    assert model(ids()).outputs["token"].shape == (3, 11, 13)
    with pytest.raises(SuiteError) as caught:
        built(task=info(vocabulary=5, outputs=13), tied=True)
    assert caught.value.code == "head-not-tied"


def test_only_a_decoder_asks_for_causal_layers():
    assert host_settings({"name": "decoder"}).causal
    assert not host_settings({"name": "encoder"}).causal


@pytest.mark.parametrize("settings", [{}, MODERN, {"positions": "sincos", "tied": True}])
def test_one_token_after_kept_keys_and_values_is_answered_as_in_a_whole_pass(settings):
    model = built(**settings).eval()
    with torch.no_grad():
        whole = model(ids()).outputs["token"]
        seen = [Seen() for _ in model.blocks]
        torch.testing.assert_close(model.next_outputs(ids()[:, :4], seen), whole[:, 3])
        for place in range(4, 11):
            torch.testing.assert_close(model.next_outputs(ids()[:, place : place + 1], seen), whole[:, place])
        assert {each.count for each in seen} == {11}
